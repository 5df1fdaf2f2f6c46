// What the kernels of boxed products have in common: tiles of 128 tokens by up to 256 weight rows, for SwiGLU
// half of them gate rows and half the up rows that belong to these, in a persistent grid. Some warps fill a
// ring of stages in shared memory, 64 columns each; two warpgroups multiply, 64 tokens or one plane of 64
// tokens each, and finish their sums in registers. Compiled for sm_90a alone.
#pragma once
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/tma.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace qwend::cuda::boxed {

inline constexpr int kTokens = 128, kRows = 256, kCols = 64;  // of a stage; rows: gate, then up
inline constexpr int kGroups = 2;                             // warpgroups that multiply; the last one fills
inline constexpr int kGroupThreads = 128, kThreads = (kGroups + 1) * kGroupThreads;
inline constexpr int kTokenBytes = kTokens * kCols * 2;
inline constexpr int kMaxSharedBytes = 227 << 10;

// How a tile is shared out. CTAs of a cluster: kTokenCtas with the same weight rows, of which each asks for
// its part, for all; kRowCtas with the same tokens, likewise. Warpgroups of a CTA: 64 tokens each, or, with
// planes apart, one plane each of the same 64.
template <int kTileRows_, int kTokenCtas_, int kRowCtas_, bool kPlanesApart_ = false>
struct Shape {
  static constexpr int kTileRows = kTileRows_;  // of weights, for a CTA
  static constexpr int kTokenCtas = kTokenCtas_, kRowCtas = kRowCtas_, kCtas = kTokenCtas * kRowCtas;
  static constexpr bool kPlanesApart = kPlanesApart_;
  static constexpr int kTileTokens = kPlanesApart ? kTokens / kGroups : kTokens;
  static_assert(kTokenCtas <= 2 && kRowCtas <= 2 && (!kPlanesApart || kRowCtas == 2));

  // Prompts' tiles of fewer rows lie in the places of the largest.
  static constexpr int kPlaceRows = kCtas == 2 && kTokenCtas == 2 ? kRows : kTileRows;
  static constexpr int kStageBytes = kTokenBytes + kPlaceRows * kCols * 2;
  static constexpr int kMeetBytes = kPlanesApart ? kGroups * kTileTokens / 2 * kTileRows * 4 : 0;
  static constexpr int kStages = std::min(8, (kMaxSharedBytes - 1024 - kMeetBytes) / (kStageBytes + 2 * 8));
  static constexpr int kSharedBytes = kStages * (kStageBytes + 2 * 8) + kMeetBytes + 1024;  // to be aligned

  __device__ static uint32_t token_rank(uint32_t rank) { return kRowCtas == 1 ? rank : rank % kTokenCtas; }
  __device__ static uint32_t row_rank(uint32_t rank) { return kRowCtas == 1 ? 0 : rank / kTokenCtas; }
  // The cluster's CTAs, a bit each, that have the same weight rows, or the same tokens, as this one.
  __device__ static uint16_t same_rows(uint32_t rank) {
    return static_cast<uint16_t>(((1u << kTokenCtas) - 1) << kTokenCtas * row_rank(rank));
  }
  __device__ static uint16_t same_tokens(uint32_t rank) {
    return static_cast<uint16_t>((1u | 1u << kTokenCtas * (kRowCtas - 1)) << token_rank(rank));
  }
};
// Of prompts: neighbouring tiles of tokens and the same weight rows.
template <int kTileRows>
using PairShape = Shape<kTileRows, 2, 1>;

// What tiles of clusters there are, tiles of tokens fastest, so that weights are read once.
struct Work {
  int32_t num_tokens;
  int32_t token_tiles, row_tiles;
  int32_t steps;  // of kCols columns
};

// rows_a_tile: rows of `rows` that a CTA's tile takes, half of its weight rows for SwiGLU.
template <class Shape>
Work work_of(int32_t num_tokens, int64_t rows, int32_t rows_a_tile, int64_t cols) {
  const auto tiles_of = [](int64_t n, int64_t tile) { return static_cast<int32_t>((n + tile - 1) / tile); };
  return {num_tokens, tiles_of(num_tokens, Shape::kTokenCtas * Shape::kTileTokens),
          tiles_of(rows, Shape::kRowCtas * rows_a_tile), tiles_of(cols, kCols)};
}

// The ring. `filled` of a place awaits its bytes and those who bring them, `read` the warpgroups of all CTAs
// of the cluster. Shared memory addresses.
template <class Shape>
struct Ring {
  static constexpr int kStages = Shape::kStages, kStageBytes = Shape::kStageBytes;
  uint32_t stages, barriers;

  __device__ explicit Ring(const void* shared)
      : stages((shared_address(shared) + 1023) / 1024 * 1024), barriers(stages + kStages * kStageBytes) {}
  __device__ uint32_t tokens(int slot) const { return stages + slot * kStageBytes; }
  __device__ uint32_t weights(int slot) const { return tokens(slot) + kTokenBytes; }
  __device__ uint32_t filled(int slot) const { return barriers + 8 * slot; }
  __device__ uint32_t read(int slot) const { return barriers + 8 * (kStages + slot); }
  // Where the shared memory behind the barriers begins, from its own begin on.
  __device__ uint32_t behind(const void* shared) const {
    return barriers + 2 * 8 * kStages - shared_address(shared);
  }
  // By one thread, before a barrier.
  __device__ void clear(int fillers, int readers) const {
    for (int i = 0; i < kStages; ++i) barrier_init(filled(i), fillers), barrier_init(read(i), readers);
    asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory");
  }
};

// A place of the ring and the parity of its barriers' phase.
template <class Shape>
struct Place {
  int slot = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++slot == Shape::kStages) slot = 0, parity ^= 1;
  }
};

// Lane 4 g + c of a warp has columns 8 n + 2 c, + 1 of rows g (sums[n][0, 1]) and g + 8.
template <int kTileRows = kRows>
using Sums = float[kTileRows / 8][4];

// All columns of a tile. Threads of the warpgroup tell each CTA of the cluster that it has read a place.
template <class Shape, int kEights>
__device__ __forceinline__ void multiply_tile(const Ring<Shape>& ring, int group, int32_t steps,
                                              Place<Shape>& at, float (&sums)[kEights][4]) {
  const auto thread = threadIdx.x % kGroupThreads;
  const auto release = [&](int slot) {
    if (thread % 32 == 0 && thread < 32 * Shape::kCtas) barrier_arrive_at(ring.read(slot), thread / 32);
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

// Both planes' sums of the same tokens, one in each warpgroup: they swap halves, so that a lane of `group`
// has the whole sums of its row 8 * group. place: kEights * kGroups * kGroupThreads pairs of shared memory.
template <int kEights>
__device__ __forceinline__ void add_planes(const float (&sums)[kEights][4], int group, float2* place,
                                           float (&whole)[kEights][2]) {
  const auto sync = [] { asm volatile("bar.sync 1, %0;" ::"n"(kGroups * kGroupThreads) : "memory"); };
  const auto thread = threadIdx.x % kGroupThreads;
  constexpr int kHalf = kEights * kGroupThreads;
  float2* const to = place + (group ^ 1) * kHalf + thread;
  const float2* const from = place + group * kHalf + thread;
  const auto row = [&](int n, bool second) {
    return make_float2(second ? sums[n][2] : sums[n][0], second ? sums[n][3] : sums[n][1]);
  };
#pragma unroll
  for (int n = 0; n < kEights; ++n) to[n * kGroupThreads] = row(n, group == 0);
  sync();
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
    const float2 own = row(n, group != 0), other = from[n * kGroupThreads];
    whole[n][0] = own.x + other.x, whole[n][1] = own.y + other.y;
  }
  sync();  // before the next tile's
}

// First of the rows of tokens that a thread of the multiplying warpgroups has sums of, in its tile.
template <class Shape>
__device__ __forceinline__ int32_t own_row() {
  const uint32_t thread = Shape::kPlanesApart ? threadIdx.x % kGroupThreads : threadIdx.x;
  return static_cast<int32_t>(thread / 32 * 16 + thread % 32 / 4);
}

// What a multiplying warpgroup does: its tokens of tile after tile. finish(sums, row, tile): the lane's sums
// [.][0] are of token `row`, and of the weight rows of the CTA's `tile`. With planes apart they are [.][2],
// of that token alone. shared: all of the CTA's.
template <class Shape, class Finish>
__device__ __forceinline__ void multiply_tiles(const Ring<Shape>& ring, unsigned char* shared, int group,
                                               const Work& work, uint32_t rank, const Finish& finish) {
  Place<Shape> at;
  const int32_t tiles = work.token_tiles * work.row_tiles, clusters = gridDim.x / Shape::kCtas;
#pragma unroll 1
  for (int32_t tile = blockIdx.x / Shape::kCtas; tile < tiles; tile += clusters) {
    Sums<Shape::kTileRows> sums;
    multiply_tile(ring, group, work.steps, at, sums);
    const int32_t token_tile = tile % work.token_tiles * Shape::kTokenCtas + Shape::token_rank(rank),
                  row_tile = tile / work.token_tiles * Shape::kRowCtas + Shape::row_rank(rank);
    const int32_t row = token_tile * Shape::kTileTokens + own_row<Shape>();
    if constexpr (Shape::kPlanesApart) {
      float whole[Shape::kTileRows / 8][2];
      add_planes(sums, group, reinterpret_cast<float2*>(shared + ring.behind(shared)), whole);
      finish(whole, row + 8 * group, row_tile);
    } else {
      finish(sums, row, row_tile);
    }
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
template <int kTileRows>
struct Gated {
  const float *in_scale, *in_norm;  // [T]
  const float* weight_norms;        // [2]
  float weight_scale;               // what to multiply by to have the weights
  __half* out;                      // [T, stride], of column `first` on
  float* out_scale;                 // [T], or nullptr: written already
  int64_t stride;
  int32_t count;  // columns

  // row: of the lane's sums [.][0]; tile: of weight rows.
  template <bool kMixed = false>
  __device__ __forceinline__ void finish(const Sums<kTileRows>& sums, int32_t row, int32_t tile,
                                         int32_t num_tokens) const {
    constexpr int kEights = kTileRows / 2 / 8;  // of gate rows
    static_assert(kEights % 4 == 0);
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
        return silu(sums[n][2 * r + i] * factor) * (sums[n + kEights][2 * r + i] * factor) * inverse;
      };
#pragma unroll
      for (int n = 0; n < kEights; n += 4) {
        uint32_t words[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) words[j] = pack_half2(value(n + j, 0), value(n + j, 1));
        exchange(words);
        uint4 eight = make_uint4(words[0], words[1], words[2], words[3]);
        if constexpr (kMixed)
          eight =
              make_uint4(__byte_perm(words[0], words[1], 0x5410), __byte_perm(words[2], words[3], 0x5410),
                         __byte_perm(words[0], words[1], 0x7632), __byte_perm(words[2], words[3], 0x7632));
        const int32_t column = tile * (kTileRows / 2) + (n + lane % 4) * 8;
        if (there && column < count) *reinterpret_cast<uint4*>(out + token * stride + column) = eight;
      }
    }
  }
};

template <int kTileRows>
Gated<kTileRows> gated(const HalfRows& in, const float* weight_norms, float weight_scale, int64_t first,
                       int64_t count, const HalfRowsOut& out) {
  CHECK(in.low == nullptr && in.scale != nullptr && in.norm != nullptr);
  CHECK(first % 8 == 0 && out.stride % 8 == 0 && reinterpret_cast<uintptr_t>(out.rows) % 16 == 0);
  return {in.scale,         in.norm,
          weight_norms,     weight_scale,
          out.rows + first, first == 0 ? out.scale : nullptr,
          out.stride,       static_cast<int32_t>(count)};
}

}  // namespace qwend::cuda::boxed
