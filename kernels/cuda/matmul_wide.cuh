// The kernel of matmul_wide.h, for one format of weights and one shape of CTA.
//
// A CTA computes output tiles of 16 * kRowTiles rows for each of its warps by 8 * kTokenTiles tokens. Weights
// and activations come by cp.async through one ring of stages of 64 columns; a warp turns its weights into
// fragments once, for all tokens of the tile, and activations are read with ldmatrix by every warp.
//
// All stages of all output tiles form one list, cut into equal stretches, one a CTA ("stream-K"): the device
// is full whatever the matrix, and at most two tiles of a stretch are shared with its neighbours. Their sums
// meet in device memory; the CTA that arrives last adds them up in order.
#pragma once
#include <cuda_fp16.h>

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_wide.h"
#include "kernels/cuda/wide_finish.cuh"
#include "kernels/cuda/wide_tiles.cuh"

namespace qwend::cuda::wide {

// The first row tile of a warp (SwiGLU: of gate rows).
template <class S>
__device__ int first_row_tile(const Args& args, const Cursor& at, int warp) {
  return (at.row_block * S::kWarps + warp) * S::kRowTiles / (args.epilogue == Epilogue::SwiGlu ? 2 : 1);
}

// Copies stages in the order of the list. A stage: activations [kTokens][64 columns], chunks of 16 bytes
// swizzled by the token; then each warp's row tiles. Nothing is copied for rows and tokens beyond the last:
// their results are dropped.
template <class W, class S>
class Fetch {
 public:
  __device__ Fetch(const Args& args, int64_t begin) : args_(args), at_(args, begin), weights_(args, 0, 0) {
    aim();
  }

  __device__ void next(std::byte* stage) {
    const bool two_planes = args_.in.low != nullptr;
    const int tile = two_planes ? at_.stage / 2 : at_.stage;
    const int64_t step = S::kThreads / 8 * args_.in.stride;
    const __half* const from =
        (two_planes && at_.stage % 2 == 1 ? args_.in.low : args_.in.rows) + tokens_ + tile * kTileCols;
    const int token = threadIdx.x / 8, chunk = threadIdx.x % 8;
    std::byte* const to = stage + token * 128 + ((chunk ^ token % 8) << 4);
#pragma unroll
    for (int i = 0; i < S::kTokens * 8 / S::kThreads; ++i) {
      const int below = i * (S::kThreads / 8);
      if (below < tokens_left_) copy_async_16(to + below * 128, from + i * step, true);
    }
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    std::byte* const weights = stage + S::kActivationBytes + warp * S::kRowTiles * W::kRecord;
    const bool paired = args_.epilogue == Epilogue::SwiGlu;
    const auto up = static_cast<int>(args_.out_rows / kTileRows);
#pragma unroll
    for (int m = 0; m < S::kRowTiles; ++m) {
      // SwiGLU: gate tiles and the up tiles that belong to them in turn.
      const int below = paired ? m / 2 : m;
      if (below < row_tiles_left_) {
        W::copy(args_, weights_, paired && m % 2 == 1 ? below + up : below, tile, lane,
                weights + m * W::kRecord);
      }
    }
    const int row_block = at_.row_block, token_block = at_.token_block;
    at_.advance(args_);
    if (at_.row_block != row_block || at_.token_block != token_block) aim();
  }

 private:
  __device__ void aim() {
    const int first = first_row_tile<S>(args_, at_, threadIdx.x / 32);
    weights_ = typename W::Source(args_, first, threadIdx.x % 32);
    row_tiles_left_ = static_cast<int>((args_.out_rows + kTileRows - 1) / kTileRows) - first;
    const int token = at_.token_block * S::kTokens + threadIdx.x / 8;
    tokens_ = token * args_.in.stride + threadIdx.x % 8 * 8;
    tokens_left_ = args_.num_tokens - token;
  }

  const Args& args_;
  Cursor at_;
  typename W::Source weights_;
  int64_t tokens_ = 0;  // the thread's first chunk, from the plane's begin
  int row_tiles_left_ = 0, tokens_left_ = 0;
};

// Adds the products of a stage: for each 32 columns, fragments of the warp's weights, then all tokens past
// them.
template <class W, class S>
__device__ void multiply(const std::byte* stage, int warp, int lane, Sums<S>& sums) {
  const std::byte* const weights = stage + S::kActivationBytes + warp * S::kRowTiles * W::kRecord;
  typename W::Share shares[S::kRowTiles];
#pragma unroll
  for (int m = 0; m < S::kRowTiles; ++m) W::load(weights + m * W::kRecord, lane, shares[m]);
  // Matrices of an ldmatrix: (8 tokens, k-low), (the same, k-high), (the next 8 tokens, k-low), (k-high).
  const std::byte* const tokens = stage + (lane % 8 + lane / 16 * 8) * 128;
  const int chunk = (lane / 8 % 2 ^ lane % 8) << 4;
  const auto half = [&]<int h>() {
    uint32_t a[S::kRowTiles][2][4];
#pragma unroll
    for (int m = 0; m < S::kRowTiles; ++m) {
      W::template fragments<h>(weights + m * W::kRecord, shares[m], lane, a[m]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int n = 0; n < S::kTokenTiles; n += 2) {
        uint32_t b[4];
        load_matrices(b, tokens + n * 8 * 128 + (chunk ^ (2 * h + i) << 5));
        const uint32_t even[2] = {b[0], b[1]}, odd[2] = {b[2], b[3]};
#pragma unroll
        for (int m = 0; m < S::kRowTiles; ++m) {
          mma_f16(sums[m][n], a[m][i], even);
          mma_f16(sums[m][n + 1], a[m][i], odd);
        }
      }
    }
  };
  half.template operator()<0>();
  half.template operator()<1>();
}

template <class W, class S>
__global__ void __launch_bounds__(S::kThreads, S::kCtas) kernel(const __grid_constant__ Args args) {
  extern __shared__ __align__(128) std::byte ring[];
  follow_stream();
  constexpr int kStages = S::template kStages<W>, kBytes = S::template kStageBytes<W>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t begin = cut(args, blockIdx.x);
  const auto count = static_cast<int>(cut(args, blockIdx.x + 1) - begin);
  Cursor at(args, begin);
  Fetch<W, S> fetch(args, begin);
#pragma unroll 1
  for (int i = 0; i < count;) {
    const int stages = min(args.stages - at.stage, count - i), end = i + stages;  // of one tile
#pragma unroll 1
    for (int s = 0; s < kStages - 1; ++s) {
      if (i + s < end) fetch.next(ring + s * kBytes);
      copy_async_commit();
    }
    Sums<S> sums = {};
    int slot = 0;
#pragma unroll 1
    for (; i < end; ++i) {
      copy_async_wait<kStages - 2>();
      __syncthreads();  // the stage is there for all warps, and all are done with the one before
      if (i + kStages - 1 < end) fetch.next(ring + (slot == 0 ? kStages - 1 : slot - 1) * kBytes);
      copy_async_commit();
      multiply<W, S>(ring + slot * kBytes, warp, lane, sums);
      slot = slot == kStages - 1 ? 0 : slot + 1;
    }
    finish<W, S>(args, at, stages == args.stages, sums, ring);
    at.advance(args, stages);
  }
}

// What a launch needs beside its arguments.
struct Limits {
  int multiprocessors;
  int64_t partial_floats;  // room in Args::partial
  int arrivals;            // room in Args::arrivals
  int min_stages;          // of a CTA
};

// W, S: what the kernel was made for.
template <class W, class S>
void launch(void (*kernel)(Args), Args args, const Limits& limits, cudaStream_t stream) {
  constexpr int kShared = std::max(S::template kStages<W> * S::template kStageBytes<W>, Tile<S>::kBytes);
  static const int resident = [=] {  // CTAs of a multiprocessor
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared));
    int ctas = 0;
    CUDA_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&ctas, kernel, S::kThreads, kShared));
    return std::max(1, ctas);
  }();
  const bool paired = args.epilogue == Epilogue::SwiGlu;
  const int64_t tiles = (args.out_rows + kTileRows - 1) / kTileRows * (paired ? 2 : 1);
  args.row_tile_bytes = W::row_tile_bytes(args.part);
  args.row_tile_super_bytes = W::row_tile_super_bytes(args.part);
  constexpr int64_t kTilesOfBlock = S::kRowTiles * S::kWarps;
  args.row_blocks = static_cast<int32_t>((tiles + kTilesOfBlock - 1) / kTilesOfBlock);
  args.token_blocks = (args.num_tokens + S::kTokens - 1) / S::kTokens;
  const int64_t ctas = std::min(
      {int64_t{resident} * limits.multiprocessors, std::max(int64_t{1}, args.total() / limits.min_stages),
       limits.partial_floats / (2 * S::kRows * S::kTokens), int64_t{limits.arrivals}});
  launch_following(kernel, static_cast<unsigned>(ctas), S::kThreads, kShared, stream, args);
}

template <class W, class S>
void start(const Args& args, const Limits& limits, cudaStream_t stream) {
  launch<W, S>(kernel<W, S>, args, limits, stream);
}

template <class W>
void launch(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream) {
  switch (tile) {
    case WideTile::k128x32: return start<W, Shape<2, 4, 4, 4>>(args, limits, stream);
    case WideTile::k256x32: return start<W, Shape<4, 4, 4, 3>>(args, limits, stream);
    case WideTile::k128x64: return start<W, Shape<2, 8, 4, 3>>(args, limits, stream);
    case WideTile::k256x64: return start<W, Shape<4, 8, 4, 2>>(args, limits, stream);
    default: return start<W, Shape<2, 16, 4, 2>>(args, limits, stream);
  }
}

// One definition a family of formats, each in its own file: they compile side by side.
void launch_half(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream);
void launch_blocks_of_32(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream);
void launch_blocks_of_256(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream);
void launch_hopper(WideTile tile, const Args& args, const Limits& limits,
                   cudaStream_t stream);  // all formats

}  // namespace qwend::cuda::wide
