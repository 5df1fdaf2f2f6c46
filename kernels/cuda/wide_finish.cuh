// The end of an output tile of the wide kernels: from registers through shared memory, meeting other CTAs'
// sums where the tile is shared, to the output.
//
// Only the way to shared memory is unrolled. Epilogues over registers came to 5,000 instructions that a CTA
// runs once: fetching them took 10 to 25 us a launch, more than most products (H100).
#pragma once
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/wide_tiles.cuh"

namespace qwend::cuda::wide {

// The tile in shared memory: [kTokens][kRows, padded], so that the lanes of an m16n8 tile fall into different
// banks.
template <class S>
struct Tile {
  static constexpr int kStride = S::kRows + 4;
  static constexpr int kBytes = S::kTokens * kStride * 4;
  float* data;

  // Value i of a lane in an m16n8 tile: row g + 8 (i / 2), token 2 c + i % 2.
  __device__ void put(int warp, int lane, const Sums<S>& sums) const {
    float* const mine = data + 2 * (lane % 4) * kStride + warp * (S::kRowTiles * kTileRows) + lane / 4;
#pragma unroll
    for (int m = 0; m < S::kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < S::kTokenTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          mine[(8 * n + i % 2) * kStride + m * kTileRows + 8 * (i / 2)] = sums[m][n][i];
        }
      }
    }
  }
  // The v-th of the thread's vectors of four rows.
  static constexpr int kVectors = S::kTokens * S::kRows / 4 / S::kThreads;
  __device__ static int index(int v) { return v * S::kThreads + static_cast<int>(threadIdx.x); }
  __device__ float4& vector(int v) const {
    constexpr int kOfToken = S::kRows / 4;
    return reinterpret_cast<float4*>(data)[index(v) / kOfToken * (kStride / 4) + index(v) % kOfToken];
  }
};

// The list's cuts: CTA b has the stages from cut(b) to cut(b + 1).
__device__ inline int64_t cut(const Args& args, int64_t cta) { return args.total() * cta / gridDim.x; }
__device__ inline int owner(const Args& args, int64_t stage) {
  return static_cast<int>(((stage + 1) * gridDim.x - 1) / args.total());
}

// A tile that is shared with other CTAs: leaves this one's sums with theirs. True for the CTA that arrives
// last, which gets everybody's, added up in order.
template <class S>
__device__ bool meet(const Args& args, const Cursor& at, const Tile<S>& tile) {
  __shared__ bool last;
  constexpr int kBatch = Tile<S>::kVectors < 16 ? Tile<S>::kVectors : 16;
  const int64_t begin = (int64_t{at.row_block} * args.token_blocks + at.token_block) * args.stages;
  const int first_cta = owner(args, begin), last_cta = owner(args, begin + args.stages - 1);
  // A CTA's second place is for a tile that it begins after another: only the first can have done so.
  const bool second = cut(args, first_cta) < begin;
  const auto place = [&](int cta) {
    const int slot = 2 * cta + (second && cta == first_cta ? 1 : 0);
    return reinterpret_cast<float4*>(args.partial) + int64_t{slot} * (Tile<S>::kVectors * S::kThreads);
  };
  float4* const mine = place(static_cast<int>(blockIdx.x));
#pragma unroll 8
  for (int v = 0; v < Tile<S>::kVectors; ++v) mine[tile.index(v)] = tile.vector(v);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(args.arrivals + first_cta, 1) == static_cast<uint32_t>(last_cta - first_cta);
  }
  __syncthreads();
  if (!last) return false;
  __threadfence();
  if (threadIdx.x == 0) args.arrivals[first_cta] = 0;
#pragma unroll 1
  for (int v = 0; v < Tile<S>::kVectors; v += kBatch) {
    float4 sum[kBatch] = {};
#pragma unroll 1
    for (int cta = first_cta; cta <= last_cta; ++cta) {
      const float4* const theirs = place(cta);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const float4 other = __ldcg(theirs + tile.index(v + i));
        sum[i].x += other.x, sum[i].y += other.y, sum[i].z += other.z, sum[i].w += other.w;
      }
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) tile.vector(v + i) = sum[i];
  }
  __syncthreads();
  return true;
}

template <class W>
__device__ inline float token_factor(const Args& args, int token) {
  return (args.in.scale != nullptr ? args.in.scale[token] : 1.0f) * (1.0f / W::kScaleUp);
}

template <class W, class S>
__device__ void store_sums(const Args& args, const Cursor& at, const Tile<S>& tile) {
  const bool add = args.epilogue == Epilogue::Add;
  float* const out = args.out.data + args.part.first_row;
  const bool vectors = reinterpret_cast<uintptr_t>(out) % 16 == 0 && args.out.stride % 4 == 0;
  constexpr int kOfToken = S::kRows / 4;
#pragma unroll 4
  for (int v = 0; v < Tile<S>::kVectors; ++v) {
    const int token = at.token_block * S::kTokens + tile.index(v) / kOfToken;
    const int64_t row = int64_t{at.row_block} * S::kRows + tile.index(v) % kOfToken * 4;
    if (token >= args.num_tokens || row >= args.out_rows) continue;
    const float factor = token_factor<W>(args, token);
    float* const to = out + token * args.out.stride;
    const float4 y = tile.vector(v);
    const float4 x = add ? load4(to, row, args.out_rows, vectors) : float4{};
    store4(to, row, args.out_rows, vectors,
           {fmaf(y.x, factor, x.x), fmaf(y.y, factor, x.y), fmaf(y.z, factor, x.z), fmaf(y.w, factor, x.w)});
  }
}

// Gate tiles and the up tiles that belong to them lie in turn.
template <class W, class S>
__device__ void store_gated(const Args& args, const Cursor& at, const Tile<S>& tile) {
  const HalfRowsOut& out = args.out.half;
  const bool vectors = out.stride % 4 == 0;
  constexpr int kOutRows = S::kRows / 2, kOfToken = kOutRows / 4;
#pragma unroll 4
  for (int v = 0; v < Tile<S>::kVectors / 2; ++v) {
    const int token_of_tile = tile.index(v) / kOfToken, i = tile.index(v) % kOfToken * 4;
    const int token = at.token_block * S::kTokens + token_of_tile;
    const int64_t row = int64_t{at.row_block} * kOutRows + i;
    if (token >= args.num_tokens || row >= args.out_rows) continue;
    const float factor = token_factor<W>(args, token),
                scale = gated_scale(args.weight_norms, args.in.norm[token]);
    if (row == 0) out.scale[token] = scale;
    const float* const gates = tile.data + token_of_tile * tile.kStride + 2 * i - i % kTileRows;
    const float4 gate = *reinterpret_cast<const float4*>(gates);
    const float4 up = *reinterpret_cast<const float4*>(gates + kTileRows);
    const float4 h{silu(gate.x * factor) * (up.x * factor), silu(gate.y * factor) * (up.y * factor),
                   silu(gate.z * factor) * (up.z * factor), silu(gate.w * factor) * (up.w * factor)};
    store_half4(out.rows + token * out.stride, row, args.out_rows, vectors, to_half4(h, 1.0f / scale));
  }
}

// By all warps of the CTA, which has computed all stages of the tile (`whole`) or some. The ring's memory is
// taken.
template <class W, class S>
__device__ void finish(const Args& args, const Cursor& at, bool whole, const Sums<S>& sums, std::byte* ring) {
  const Tile<S> tile{reinterpret_cast<float*>(ring)};
  __syncthreads();  // all are done with the ring
  tile.put(threadIdx.x / 32, threadIdx.x % 32, sums);
  __syncthreads();
  if (whole || meet<S>(args, at, tile)) {
    args.epilogue == Epilogue::SwiGlu ? store_gated<W, S>(args, at, tile) : store_sums<W, S>(args, at, tile);
  }
  __syncthreads();  // the ring may be filled again
}

}  // namespace qwend::cuda::wide
