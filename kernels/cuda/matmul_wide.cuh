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

#include "kernels/cuda/matmul_wide.h"
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/wide_tiles.cuh"

namespace qwend::cuda::wide {

// kRowTiles: 16-row tiles a warp (even: SwiGLU pairs them); kTokenTiles: 8-token tiles (even); kWarps of a
// CTA; kCtas that a multiprocessor holds.
template <int kRowTiles_, int kTokenTiles_, int kWarps_, int kCtas_>
struct Shape {
  static constexpr int kRowTiles = kRowTiles_, kTokenTiles = kTokenTiles_, kWarps = kWarps_, kCtas = kCtas_;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = kTileRows * kRowTiles * kWarps, kTokens = 8 * kTokenTiles;
  static constexpr int kActivationBytes = kTokens * kTileCols * 2;
  template <class W>
  static constexpr int kStageBytes = kActivationBytes + (kWarps * kRowTiles * W::kRecord + 127) / 128 * 128;
  // A block has 99 KB at least on every device, and a multiprocessor of an H100 227.
  static constexpr int kSharedBytes = std::min(96, 216 / kCtas) * 1024;
  template <class W>
  static constexpr int kStages = std::clamp(kSharedBytes / kStageBytes<W>, 2, 6);
};

// A place in the list of stages.
struct Cursor {
  int row_block, token_block, stage;
  __device__ Cursor(const Args& args, int64_t at) {
    const auto tile = static_cast<int>(at / args.stages);
    stage = static_cast<int>(at % args.stages);
    row_block = tile / args.token_blocks, token_block = tile % args.token_blocks;
  }
  __device__ void advance(const Args& args, int by = 1) {  // not past the next tile
    if ((stage += by) < args.stages) return;
    stage = 0;
    if (++token_block < args.token_blocks) return;
    token_block = 0, ++row_block;
  }
};

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

template <class S>
using Sums = float[S::kRowTiles][S::kTokenTiles][4];

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

// The list's cuts: CTA b has the stages from cut(b) to cut(b + 1).
__device__ inline int64_t cut(const Args& args, int64_t cta) { return args.total() * cta / gridDim.x; }
__device__ inline int owner(const Args& args, int64_t stage) {
  return static_cast<int>(((stage + 1) * gridDim.x - 1) / args.total());
}

// A tile that is shared with other CTAs: leaves this one's sums with theirs. True for the CTA that arrives
// last, which gets everybody's, added up in order.
template <class S>
__device__ bool meet(const Args& args, const Cursor& at, Sums<S>& sums) {
  __shared__ bool last;
  constexpr int kVectors = S::kRowTiles * S::kTokenTiles;
  const int64_t begin = (int64_t{at.row_block} * args.token_blocks + at.token_block) * args.stages;
  const int first_cta = owner(args, begin), last_cta = owner(args, begin + args.stages - 1);
  // A CTA's second place is for the tile that it begins after another.
  const auto place = [&](int cta) {
    const int slot = 2 * cta + (cut(args, cta) < begin ? 1 : 0);
    return reinterpret_cast<float4*>(args.partial) + int64_t{slot} * (kVectors * S::kThreads) +
           threadIdx.x / 32 * (kVectors * 32) + threadIdx.x % 32;
  };
  float4* const mine = place(static_cast<int>(blockIdx.x));
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const float(&sum)[4] = sums[v / S::kTokenTiles][v % S::kTokenTiles];
    mine[v * 32] = {sum[0], sum[1], sum[2], sum[3]};
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(args.arrivals + first_cta, 1) == static_cast<uint32_t>(last_cta - first_cta);
  }
  __syncthreads();
  if (!last) return false;
  __threadfence();
  if (threadIdx.x == 0) args.arrivals[first_cta] = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    float(&sum)[4] = sums[v / S::kTokenTiles][v % S::kTokenTiles];
    sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
  }
#pragma unroll 1
  for (int cta = first_cta; cta <= last_cta; ++cta) {
    const float4* const theirs = place(cta);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      float(&sum)[4] = sums[v / S::kTokenTiles][v % S::kTokenTiles];
      const float4 other = __ldcg(theirs + v * 32);
      sum[0] += other.x, sum[1] += other.y, sum[2] += other.z, sum[3] += other.w;
    }
  }
  return true;
}

// Value i of a lane in an m16n8 tile: row g + 8 (i / 2), token 2 c + i % 2.
template <class W, class S>
__device__ void write(const Args& args, const Cursor& at, int warp, int lane, const Sums<S>& sums) {
  const int first_token = at.token_block * S::kTokens + 2 * (lane % 4);
  const bool paired = args.epilogue == Epilogue::SwiGlu, add = args.epilogue == Epilogue::Add;
  const int64_t first_row = int64_t{first_row_tile<S>(args, at, warp)} * kTileRows + lane / 4;
#pragma unroll
  for (int n = 0; n < S::kTokenTiles; ++n) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int token = first_token + 8 * n + j;
      if (token >= args.num_tokens) continue;
      const float factor = (args.in.scale != nullptr ? args.in.scale[token] : 1.0f) * (1.0f / W::kScaleUp);
      if (paired) {
        const float scale = gated_scale(args.weight_norms, args.in.norm[token]);
        if (first_row == 0) args.out.half.scale[token] = scale;
        __half* const out = args.out.half.rows + token * args.out.half.stride + first_row;
#pragma unroll
        for (int m = 0; m < S::kRowTiles; m += 2) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const int row = m / 2 * kTileRows + 8 * r;
            const float gate = sums[m][n][2 * r + j] * factor, up = sums[m + 1][n][2 * r + j] * factor;
            if (first_row + row < args.out_rows) out[row] = __float2half_rn(silu(gate) * up * (1.0f / scale));
          }
        }
      } else {
        float* const out = args.out.data + token * args.out.stride + args.part.first_row + first_row;
#pragma unroll
        for (int m = 0; m < S::kRowTiles; ++m) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const int row = m * kTileRows + 8 * r;
            if (first_row + row >= args.out_rows) continue;
            const float y = sums[m][n][2 * r + j] * factor;
            out[row] = add ? out[row] + y : y;
          }
        }
      }
    }
  }
}

template <class W, class S>
__global__ void __launch_bounds__(S::kThreads, S::kCtas) kernel(const __grid_constant__ Args args) {
  extern __shared__ __align__(128) std::byte ring[];
  constexpr int kStages = S::template kStages<W>, kBytes = S::template kStageBytes<W>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t begin = cut(args, blockIdx.x);
  const auto count = static_cast<int>(cut(args, blockIdx.x + 1) - begin);
  Cursor at(args, begin);
  Fetch<W, S> fetch(args, begin);
#pragma unroll 1
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < count) fetch.next(ring + i * kBytes);
    copy_async_commit();
  }

  Sums<S> sums = {};
  int slot = 0, from = 0;  // from: the first stage of the tile in this stretch
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    copy_async_wait<kStages - 2>();
    __syncthreads();  // the stage is there for all warps, and all are done with the one before
    if (i + kStages - 1 < count) fetch.next(ring + (slot == 0 ? kStages - 1 : slot - 1) * kBytes);
    copy_async_commit();
    multiply<W, S>(ring + slot * kBytes, warp, lane, sums);
    slot = slot == kStages - 1 ? 0 : slot + 1;
    if (at.stage == args.stages - 1 || i == count - 1) {
      const bool whole = at.stage == args.stages - 1 && i - from == args.stages - 1;
      if (whole || meet<S>(args, at, sums)) write<W, S>(args, at, warp, lane, sums);
#pragma unroll
      for (int v = 0; v < S::kRowTiles * S::kTokenTiles * 4; ++v) {
        sums[v / 4 / S::kTokenTiles][v / 4 % S::kTokenTiles][v % 4] = 0.0f;
      }
      from = i + 1;
    }
    at.advance(args);
  }
  copy_async_wait<0>();
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
  constexpr int kShared = S::template kStages<W> * S::template kStageBytes<W>;
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
  kernel<<<static_cast<unsigned>(ctas), S::kThreads, kShared, stream>>>(args);
  CUDA_CHECK_LAUNCH();
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
    case WideTile::k128x128: return start<W, Shape<2, 16, 4, 2>>(args, limits, stream);
    default: return start<W, Shape<2, 16, 8, 1>>(args, limits, stream);
  }
}

// One definition a family of formats, each in its own file: they compile side by side.
void launch_half(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream);
void launch_blocks_of_32(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream);
void launch_blocks_of_256(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream);
void launch_hopper(WideTile tile, const Args& args, const Limits& limits,
                   cudaStream_t stream);  // all formats

}  // namespace qwend::cuda::wide
