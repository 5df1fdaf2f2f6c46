// Boxed products of block formats: the third warpgroup turns their tiles (tile_format.cuh) into FP16 rows in
// shared memory while the others multiply. Matrices are read as they are, once; expanding 7B's gate and up of
// a layer first takes 150 us, as that writes 270 MB and reads them back.
//
// CTAs work in pairs, as those of FP16 do: one expands the gate rows, the other the up rows of a tile, each
// for both. Expanding a stage takes 570 (Q8_0) to 1,230 cycles (IQ4_XS) of issue and fixed latencies, half of
// that in a pair; its products take 1,024.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_boxed.h"
#include "kernels/cuda/matmul_boxed_kernel.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/tile_format.cuh"

namespace qwend::cuda {
namespace boxed {
namespace {

using Pair = PairShape<kRows>;
constexpr int kCtas = Pair::kCtas, kHalfRows = kRows / kCtas;
constexpr int kWarps = kGroupThreads / 32;         // that expand
constexpr int kHalfTiles = kHalfRows / kTileRows;  // row tiles of a CTA, a stage
constexpr int kOwnTiles = kHalfTiles / kWarps;     // of a warp
constexpr int kTileBytes = kTileRows * kCols * 2;  // in shared memory
constexpr float kScaleUp =
    32.0f;  // of weights, to keep small scales clear of FP16's subnormals; up to 2,000 fits

// Where row tiles of gate or up begin in a part.
struct Tiles {
  const std::byte* data;
  const std::byte* supers;
  int32_t count;  // of 16 rows
};
struct BlockRows {
  Tiles halves[kCtas];             // gate, up
  int32_t col_tiles, super_tiles;  // of a row tile
};

// Which warp, lane and place in shared memory: the lane has columns 16 s + 4 c .. + 3 of rows g and g + 8.
// Eight rows lie in the order 0 4 1 5 2 6 3 7, so that half a warp writes its 8 bytes a lane to all banks.
struct Lane {
  int warp, lane;
  uint32_t at[4];  // of step s, row g, in a row tile

  __device__ Lane() : warp(threadIdx.x % kGroupThreads / 32), lane(threadIdx.x % 32) {
    const uint32_t g = lane / 4, c = lane % 4, row = g % 4 * 2 + g / 4;
#pragma unroll
    for (uint32_t s = 0; s < 4; ++s) at[s] = row * 128 + (((2 * s + c / 2) ^ row) << 4) + c % 2 * 8;
  }
};

__device__ __forceinline__ __half2 as_half2(uint32_t bits) { return *reinterpret_cast<__half2*>(&bits); }
__device__ __forceinline__ void store8(uint32_t shared, __half2 a, __half2 b) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(shared), "r"(half2_bits(a)), "r"(half2_bits(b))
               : "memory");
}

// A row tile's 64 columns, times kScaleUp, to `to`.
template <class F>
__device__ __forceinline__ void expand_tile(const TileShare<F>& share, const Lane& lane, uint32_t to) {
  constexpr int kSteps = F::kGroup / 16;  // that share a scale
#pragma unroll
  for (int group = 0; group < kTileCols / F::kGroup; ++group) {
    __half2 factor[2], minus[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      factor[r] = __float2half2_rn(tile_scale<F>(share, r, group) * kScaleUp);
      minus[r] = __float2half2_rn(tile_min<F>(share, r, group) * -kScaleUp);
    }
#pragma unroll
    for (int s = group * kSteps; s < (group + 1) * kSteps; ++s) {
      uint32_t codes[4];
      expand<F>(share, s, codes);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const auto value = [&](uint32_t pair) {
          return F::kHasMin ? __hfma2(as_half2(pair), factor[r], minus[r])
                            : __hmul2(as_half2(pair), factor[r]);
        };
        store8(to + lane.at[s] + r * 8 * kCols * 2, value(codes[r]), value(codes[2 + r]));
      }
    }
  }
}

// A warp's row tiles of its CTA's half of a tile of weight rows.
template <class F>
struct OwnTiles {
  using T = TileFormat<F>;
  const std::byte *data[kOwnTiles], *supers[kOwnTiles];

  __device__ __forceinline__ OwnTiles(const BlockRows& rows, int32_t tile, uint32_t rank, int warp) {
    const Tiles& half = rank == 0 ? rows.halves[0] : rows.halves[1];
#pragma unroll
    for (int i = 0; i < kOwnTiles; ++i) {  // beyond the last: any, nobody reads their sums
      const int64_t row_tile = min(tile * kHalfTiles + warp * kOwnTiles + i, half.count - 1);
      data[i] = half.data + row_tile * rows.col_tiles * T::kBytes;
      supers[i] = half.supers + row_tile * rows.super_tiles * kTileRows * T::kSuperBytes;
    }
  }
  __device__ __forceinline__ void load(int i, int32_t step, int lane, TileShare<F>& share) const {
    load_share<F>(data[i] + step * T::kBytes, supers[i] + step / 4 * (kTileRows * T::kSuperBytes), lane,
                  share);
  }
};

// Each stage: the first thread asks for its tokens, all warps write their row tiles, whose loads were asked
// for a stage before (a tile's registers take its next columns as soon as they are free), and send them to
// the other CTA. A place is free when all of the pair have read it, and so have what was sent from it.
template <class F>
__device__ __forceinline__ void fill(const Ring<Pair>& ring, const Work& work, const CUtensorMap& tokens,
                                     const BlockRows& rows, uint32_t rank) {
  const Lane lane;
  Place<Pair> at;
  const int32_t tiles = work.token_tiles * work.row_tiles, pairs = gridDim.x / kCtas;
#pragma unroll 1
  for (int32_t tile = blockIdx.x / kCtas; tile < tiles; tile += pairs) {
    const int32_t token = (tile % work.token_tiles * kCtas + rank) * kTokens;
    const OwnTiles<F> own(rows, tile / work.token_tiles, rank, lane.warp);
    TileShare<F> shares[kOwnTiles];
#pragma unroll
    for (int i = 0; i < kOwnTiles; ++i) own.load(i, 0, lane.lane, shares[i]);
#pragma unroll 1
    for (int32_t step = 0; step < work.steps; ++step, at.next()) {
      barrier_wait(ring.read(at.slot), at.parity ^ 1);
      const uint32_t filled = ring.filled(at.slot),
                     own_rows =
                         ring.weights(at.slot) + (rank * kHalfTiles + lane.warp * kOwnTiles) * kTileBytes;
      if (threadIdx.x == kGroups * kGroupThreads) {
        barrier_expect(filled, kTokenBytes + kHalfTiles * kTileBytes);
        copy_box(ring.tokens(at.slot), tokens, token, step * kCols, filled);
      }
      const int32_t next = min(step + 1, work.steps - 1);
#pragma unroll
      for (int i = 0; i < kOwnTiles; ++i) {
        expand_tile<F>(shares[i], lane, own_rows + i * kTileBytes);
        own.load(i, next, lane.lane, shares[i]);
      }
      shared_before_async();
      __syncwarp();
      if (lane.lane == 0) {
        copy_to_cta(own_rows, kOwnTiles * kTileBytes, filled, rank ^ 1);
        barrier_arrive(filled);
      }
    }
  }
}

template <class F>
__global__ void __cluster_dims__(kCtas) __launch_bounds__(kThreads, 1)
    block_kernel(const __grid_constant__ CUtensorMap tokens, const __grid_constant__ BlockRows rows,
                 const __grid_constant__ Work work, const __grid_constant__ Gated<kRows> epilogue) {
  extern __shared__ unsigned char shared[];
  const Ring<Pair> ring(shared);
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) ring.clear(kWarps, kCtas * kGroups);
  cluster_sync();
  follow_stream();
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  if (group == kGroups) {
    give_registers<104>();
    fill<F>(ring, work, tokens, rows, rank);
    __syncwarp();
  } else {
    take_registers<200>();
    multiply_tiles(ring, shared, group, work, rank, [&](const Sums<>& sums, int32_t row, int32_t tile) {
      epilogue.template finish<true>(sums, row, tile, work.num_tokens);
    });
  }
  cluster_sync();  // a CTA that has left can't be written to
}

template <class F>
Tiles tiles_of(const WeightPart& part, int64_t row, int64_t count) {
  using T = TileFormat<F>;
  const int64_t first = row / kTileRows;
  return {part.data + first * part.col_tiles() * T::kBytes,
          part.supers + first * (part.cols / 256) * kTileRows * T::kSuperBytes,
          static_cast<int32_t>((count + kTileRows - 1) / kTileRows)};
}

}  // namespace
}  // namespace boxed

void boxed_gated_blocks(const WeightPart& gate, int64_t gate_row, const WeightPart& up, int64_t up_row,
                        int64_t count, const HalfRows& in, int32_t num_tokens, const float* weight_norms,
                        int64_t first, const HalfRowsOut& out, cudaStream_t stream) {
  using namespace boxed;
  CHECK(gate.dtype == up.dtype && gate.cols == up.cols && count % 8 == 0);
  CHECK(gate_row % kTileRows == 0 && up_row % kTileRows == 0);
  const Work work = work_of<Pair>(num_tokens, count, kHalfRows, padded_width(gate.cols));
  const CUtensorMap tokens = tensor_map(in.rows, num_tokens, gate.cols, in.stride, kTokens);
  with_block_format(gate.dtype, [&]<class F>() {
    static const int pairs = [] {
      CUDA_CHECK(cudaFuncSetAttribute(block_kernel<F>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      Pair::kSharedBytes));
      return most_clusters<Pair>();
    }();
    const BlockRows rows{{tiles_of<F>(gate, gate_row, count), tiles_of<F>(up, up_row, count)},
                         static_cast<int32_t>(gate.col_tiles()),
                         static_cast<int32_t>(gate.cols / 256)};
    const auto ctas = static_cast<unsigned>(kCtas * std::min(work.token_tiles * work.row_tiles, pairs));
    launch_following(block_kernel<F>, ctas, kThreads, Pair::kSharedBytes, stream, tokens, rows, work,
                     gated<kRows>(in, weight_norms, 1.0f / kScaleUp, first, count, out));
  });
}

}  // namespace qwend::cuda
