// What the kernels of boxed products have in common: tiles of 128 tokens by 256 weight rows, for SwiGLU 128
// gate rows and the 128 up rows that belong to them, in a persistent grid. Some warps fill a ring of stages
// in shared memory, 64 columns each; two warpgroups multiply, 64 tokens each, and gate their sums in
// registers. Compiled for sm_90a alone.
#pragma once
#include "kernels/check.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/tma.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace qwend::cuda::boxed {

inline constexpr int kTokens = 128, kRows = 256, kCols = 64;  // of a stage; rows: gate, then up
inline constexpr int kCtas = 2;                               // that share a tile of weight rows: a pair
inline constexpr int kGroups = 2;                             // warpgroups that multiply; the last one fills
inline constexpr int kGroupThreads = 128, kThreads = (kGroups + 1) * kGroupThreads;
inline constexpr int kTokenBytes = kTokens * kCols * 2, kStageBytes = kTokenBytes + kRows * kCols * 2;
inline constexpr int kStages = 4;
inline constexpr int kSharedBytes = kStages * (kStageBytes + 2 * 8) + 1024;  // to be aligned

// What tiles there are, tiles of tokens fastest, so that weights are read once.
struct Work {
  int32_t num_tokens;
  int32_t token_tiles, row_tiles;
  int32_t steps;  // of kCols columns
};

inline Work work_of(int32_t num_tokens, int32_t tokens_a_tile, int64_t rows, int32_t rows_a_tile,
                    int64_t cols) {
  const auto tiles_of = [](int64_t n, int64_t tile) { return static_cast<int32_t>((n + tile - 1) / tile); };
  return {num_tokens, tiles_of(num_tokens, tokens_a_tile), tiles_of(rows, rows_a_tile),
          tiles_of(cols, kCols)};
}

// The ring. `filled` of a place awaits its bytes and those who bring them, `read` the warpgroups of all CTAs
// of the cluster. Shared memory addresses.
struct Ring {
  uint32_t stages, barriers;

  __device__ explicit Ring(const void* shared)
      : stages((shared_address(shared) + 1023) / 1024 * 1024), barriers(stages + kStages * kStageBytes) {}
  __device__ uint32_t tokens(int slot) const { return stages + slot * kStageBytes; }
  __device__ uint32_t weights(int slot) const { return tokens(slot) + kTokenBytes; }
  __device__ uint32_t filled(int slot) const { return barriers + 8 * slot; }
  __device__ uint32_t read(int slot) const { return barriers + 8 * (kStages + slot); }
  // By one thread, before a barrier.
  __device__ void clear(int fillers, int readers) const {
    for (int i = 0; i < kStages; ++i) barrier_init(filled(i), fillers), barrier_init(read(i), readers);
    asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory");
  }
};

// A place of the ring and the parity of its barriers' phase.
struct Place {
  int slot = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++slot == kStages) slot = 0, parity ^= 1;
  }
};

// Lane 4 g + c of a warp has columns 8 n + 2 c, + 1 of rows g (sums[n][0, 1]) and g + 8.
template <int kTileRows = kRows>
using Sums = float[kTileRows / 8][4];

// All columns of a tile. One thread of the warpgroup tells each CTA of the pair that it has read a place.
template <int kEights>
__device__ __forceinline__ void multiply_tile(const Ring& ring, int group, int32_t steps, Place& at,
                                              float (&sums)[kEights][4]) {
  const auto thread = threadIdx.x % kGroupThreads;
  const auto release = [&](int slot) {
    if (thread % 32 == 0 && thread < 32 * kCtas) barrier_arrive_at(ring.read(slot), thread / 32);
  };
  int before = -1;
#pragma unroll 1
  for (int32_t step = 0; step < steps; ++step, at.next()) {
    barrier_wait(ring.filled(at.slot), at.parity);
    const uint64_t a = swizzled_operand(ring.tokens(at.slot) + group * (kTokens / kGroups) * kCols * 2),
                   b = swizzled_operand(ring.weights(at.slot));
    products_begin();
#pragma unroll
    for (int k = 0; k < kCols / 16; ++k) product_shared(sums, a + 2 * k, b + 2 * k, step + k);
    products_commit();
    products_wait<1>();  // the step before
    if (before >= 0) release(before);
    before = at.slot;
  }
  products_wait<0>();
  hold(sums);
  release(before);
}

// First of the rows of tokens that a thread of the multiplying warpgroups has sums of, in its tile.
__device__ __forceinline__ int32_t own_row() {
  return static_cast<int32_t>(threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4);
}

// What a multiplying warpgroup does: its tokens of tile after tile. finish(sums, row, tile): the lane's sums
// [.][0] are of token `row`, and of the weight rows of `tile`.
template <int kTileRows, class Finish>
__device__ __forceinline__ void multiply_tiles(const Ring& ring, int group, const Work& work, uint32_t rank,
                                               const Finish& finish) {
  Place at;
  const int32_t tiles = work.token_tiles * work.row_tiles, pairs = gridDim.x / kCtas;
#pragma unroll 1
  for (int32_t tile = blockIdx.x / kCtas; tile < tiles; tile += pairs) {
    Sums<kTileRows> sums;
    multiply_tile(ring, group, work.steps, at, sums);
    finish(sums, (tile % work.token_tiles * kCtas + rank) * kTokens + own_row(), tile / work.token_tiles);
  }
}

// Four words of each of four lanes: lane c's word j becomes lane j's word c.
__device__ __forceinline__ void exchange(uint32_t (&v)[4]) {
  const bool odd = (threadIdx.x & 1) != 0, upper = (threadIdx.x & 2) != 0;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t got = __shfl_xor_sync(kAllLanes, odd ? v[i] : v[i + 1], 1);
    (odd ? v[i] : v[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t got = __shfl_xor_sync(kAllLanes, upper ? v[i] : v[i + 2], 2);
    (upper ? v[i] : v[i + 2]) = got;
  }
}

// What becomes of sums. kMixed: eight weight rows lie in shared memory in the order 0 4 1 5 2 6 3 7.
struct Gated {
  static constexpr int kTileRows = kRows;
  const float *in_scale, *in_norm;  // [T]
  const float* weight_norms;        // [2]
  float weight_scale;               // what to multiply by to have the weights
  __half* out;                      // [T, stride], of column `first` on
  float* out_scale;                 // [T], or nullptr: written already
  int64_t stride;
  int32_t count;  // columns

  // row: of the lane's sums [.][0]; tile: of weight rows.
  template <bool kMixed = false>
  __device__ __forceinline__ void finish(const Sums<>& sums, int32_t row, int32_t tile,
                                         int32_t num_tokens) const {
    const auto lane = static_cast<int32_t>(threadIdx.x % 32);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int32_t token = row + 8 * r;
      const bool there = token < num_tokens;
      const float factor = there ? in_scale[token] * weight_scale : 0.0f;
      const float scale = there ? gated_scale(weight_norms, in_norm[token]) : 1.0f;
      if (there && tile == 0 && lane % 4 == 0 && out_scale != nullptr) out_scale[token] = scale;
      const float inverse = __uint_as_float((254u << 23) - __float_as_uint(scale));  // of a power of two
      const auto value = [&](int n, int i) {
        return silu(sums[n][2 * r + i] * factor) * (sums[n + 16][2 * r + i] * factor) * inverse;
      };
#pragma unroll
      for (int n = 0; n < 16; n += 4) {
        uint32_t words[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) words[j] = pack_half2(value(n + j, 0), value(n + j, 1));
        exchange(words);
        uint4 eight = make_uint4(words[0], words[1], words[2], words[3]);
        if constexpr (kMixed)
          eight =
              make_uint4(__byte_perm(words[0], words[1], 0x5410), __byte_perm(words[2], words[3], 0x5410),
                         __byte_perm(words[0], words[1], 0x7632), __byte_perm(words[2], words[3], 0x7632));
        const int32_t column = tile * (kRows / 2) + (n + lane % 4) * 8;
        if (there && column < count) *reinterpret_cast<uint4*>(out + token * stride + column) = eight;
      }
    }
  }
};

inline Gated gated(const HalfRows& in, const float* weight_norms, float weight_scale, int64_t first,
                   int64_t count, const HalfRowsOut& out) {
  CHECK(in.low == nullptr && in.scale != nullptr && in.norm != nullptr);
  CHECK(first % 8 == 0 && out.stride % 8 == 0 && reinterpret_cast<uintptr_t>(out.rows) % 16 == 0);
  return {in.scale,         in.norm,
          weight_norms,     weight_scale,
          out.rows + first, first == 0 ? out.scale : nullptr,
          out.stride,       static_cast<int32_t>(count)};
}

}  // namespace qwend::cuda::boxed
