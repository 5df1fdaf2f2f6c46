// The kernel of matmul_wide.cuh with a warpgroup's products (sm_90a): the same list of stages, ring and
// meeting. While the products of a stage run, the warps expand their weights for the next.
#pragma once
#include "kernels/cuda/matmul_wide.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace qwend::cuda::wide {

template <int kRowTiles, int kTokenTiles, int kWarps, int kCtas>
struct HopperShape : Shape<kRowTiles, kTokenTiles, kWarps, kCtas> {
  using Base = Shape<kRowTiles, kTokenTiles, kWarps, kCtas>;
  template <class W>
  static constexpr int kStageBytes = (Base::template kStageBytes<W> + 1023) / 1024 * 1024;  // for the swizzle
  template <class W>
  static constexpr int kStages = std::clamp(216 * 1024 / kCtas / kStageBytes<W>, 3, 6);
};

template <class S>
using Fragments = uint32_t[S::kRowTiles][4][4];  // of a stage: [row tile][step]

template <class W, class S>
__device__ __forceinline__ void expand_stage(const std::byte* stage, int warp, int lane, Fragments<S>& a) {
  const std::byte* const weights = stage + S::kActivationBytes + warp * S::kRowTiles * W::kRecord;
#pragma unroll
  for (int m = 0; m < S::kRowTiles; ++m) {
    const std::byte* const record = weights + m * W::kRecord;
    typename W::Share share;
    W::load(record, lane, share);
    uint32_t low[2][4], high[2][4];
    W::template fragments<0>(record, share, lane, low);
    W::template fragments<1>(record, share, lane, high);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      a[m][i / 4][i % 4] = low[i / 4][i % 4];
      a[m][2 + i / 4][i % 4] = high[i / 4][i % 4];
    }
  }
}

template <class W, class S>
__global__ void __launch_bounds__(S::kThreads, S::kCtas) hopper_kernel(const __grid_constant__ Args args) {
  extern __shared__ __align__(1024) std::byte ring[];
  follow_stream();
  constexpr int kStages = S::template kStages<W>, kBytes = S::template kStageBytes<W>;
  constexpr int kAhead = kStages - 2;  // the stages of this product and of the one before are in use
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t begin = cut(args, blockIdx.x);
  const auto count = static_cast<int>(cut(args, blockIdx.x + 1) - begin);
  Cursor at(args, begin);
  Fetch<W, S> fetch(args, begin);
  Sums<S> sums;
  Fragments<S> even, odd;
  int i = 0, end = 0, slot = 0;
  const auto step = [&](Fragments<S>& a) {
    copy_async_wait<kAhead - 1>();
    shared_before_async();
    __syncthreads();  // the stage is there for all, and the products of the last but one have ended for all
    const int coming = slot + kAhead >= kStages ? slot + kAhead - kStages : slot + kAhead;
    if (i + kAhead < end) fetch.next(ring + coming * kBytes);
    copy_async_commit();
    const std::byte* const stage = ring + slot * kBytes;
    expand_stage<W, S>(stage, warp, lane, a);
    const uint64_t tokens = swizzled_operand(stage);
    products_begin();
#pragma unroll
    for (int s = 0; s < 4; ++s) {
#pragma unroll
      for (int m = 0; m < S::kRowTiles; ++m) product_async(sums[m], a[m][s], tokens + 2 * s);
    }
    products_commit();
    products_wait<1>();  // the one before: its fragments and its stage are free
    slot = slot == kStages - 1 ? 0 : slot + 1;
    ++i;
  };
#pragma unroll 1
  while (i < count) {
    const int stages = min(args.stages - at.stage, count - i);  // of one tile
    end = i + stages, slot = 0;
#pragma unroll 1
    for (int s = 0; s < kAhead; ++s) {
      if (i + s < end) fetch.next(ring + s * kBytes);
      copy_async_commit();
    }
#pragma unroll
    for (int v = 0; v < S::kRowTiles * S::kTokenTiles * 4; ++v) {
      sums[v / 4 / S::kTokenTiles][v / 4 % S::kTokenTiles][v % 4] = 0.0f;
    }
#pragma unroll 1
    while (i + 1 < end) {
      step(even);
      step(odd);
    }
    if (i < end) step(even);
    products_wait<0>();
    finish<W, S>(args, at, stages == args.stages, sums, ring);
    at.advance(args, stages);
  }
}

}  // namespace qwend::cuda::wide
