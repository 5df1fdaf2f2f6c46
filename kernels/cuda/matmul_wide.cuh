// The kernel of matmul_wide.h for one block format.
//
// A CTA owns 8 row tiles, one a warp (SwiGLU: 4 of gate rows and the 4 of up rows that belong to them), and a
// stretch of the 64-column tiles. Weights go from memory to registers, each once; activations go through a
// ring in shared memory that all warps read: for 64 tokens they are 14 times the bytes of 4-bit weights of 16
// rows, and L2 could not feed every warp with its own.
#pragma once
#include <cuda_fp16.h>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_skinny.cuh"

namespace qwend::cuda::wide {

inline constexpr int kWarps = 8, kStages = 4;

struct Args {
  WeightPart part;
  HalfRows in;
  Epilogue epilogue = Epilogue::Store;
  MatmulOut out;
  int64_t out_rows = 0;  // rows that are written (SwiGLU: gate rows)
  int32_t num_tokens = 0;
  // Stretches of columns: grid y. Their sums meet in partial, [stretches][row CTAs][warps][4 NT][32]; the CTA
  // that arrives last adds them up in order.
  float* partial = nullptr;
  uint32_t* arrivals = nullptr;  // [row CTAs]
};

// A stage of the ring: [8 NT tokens][64 columns]. Chunks of 16 bytes are swizzled so that the 8-byte reads of
// a fragment (8 tokens x 2 chunks a step) fall into different banks.
__device__ inline int chunk_of(int token, int chunk) { return token * 8 + (chunk ^ (token & 3) << 1); }

template <int NT>
__device__ void copy_activations(const Args& args, int64_t tile, uint4* stage) {
  for (int i = threadIdx.x; i < 8 * NT * 8; i += 32 * kWarps) {
    const int token = i / 8, chunk = i % 8;
    const int row = min(token, args.num_tokens - 1);  // beyond the end: any row, its result is dropped
    copy_async_16(stage + chunk_of(token, chunk),
                  args.in.rows + row * args.in.stride + tile * kTileCols + 8 * chunk, true);
  }
}

// Sums of this warp's 16 rows over tiles begin .. end.
template <class F, int NT>
__device__ void multiply(const Args& args, int64_t row_tile, int64_t begin, int64_t end, uint4* ring,
                         float (&sums)[NT][4]) {
  using Format = skinny::Blocks<F>;
  constexpr int kStage = 8 * NT * 8;  // chunks
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const Format format(args.part, 0, row_tile);
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (begin + stage < end) copy_activations<NT>(args, begin + stage, ring + stage * kStage);
    copy_async_commit();
  }
  TileShare<F> now, next;
  format.load(begin, lane, now);
#pragma unroll 1
  for (int64_t tile = begin; tile < end; ++tile) {
    const int at = static_cast<int>(tile - begin);
    if (tile + 1 < end) format.load(tile + 1, lane, next);
    copy_async_wait<kStages - 2>();
    __syncthreads();  // the stage is there for all warps, and all are done with the one before
    if (tile + kStages - 1 < end) {
      copy_activations<NT>(args, tile + kStages - 1, ring + (at + kStages - 1) % kStages * kStage);
    }
    copy_async_commit();
    const uint4* const stage = ring + at % kStages * kStage;
    skinny::add_tile<Format, NT>(
        now,
        [&](int n, int s, uint32_t(&b)[2]) {
          const uint2 v = reinterpret_cast<const uint2*>(stage + chunk_of(8 * n + g, 2 * s + c / 2))[c % 2];
          b[0] = v.x, b[1] = v.y;
        },
        sums);
    now = next;
  }
  copy_async_wait<0>();
}

// Adds up what the other stretches of columns found, in order; false for all CTAs but the last to arrive.
template <int NT>
__device__ bool meet(const Args& args, int warp, int lane, float (&sums)[NT][4]) {
  __shared__ bool last;
  const size_t block = size_t{kWarps} * NT * 4 * 32, mine = warp * (NT * 4 * 32) + lane;
  float* const all = args.partial + blockIdx.x * block;
  const size_t stretch = gridDim.x * block;
#pragma unroll
  for (int v = 0; v < 4 * NT; ++v) all[blockIdx.y * stretch + mine + v * 32] = sums[v / 4][v % 4];
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(args.arrivals + blockIdx.x, 1) == gridDim.y - 1;
  __syncthreads();
  if (!last) return false;
  __threadfence();
  if (threadIdx.x == 0) args.arrivals[blockIdx.x] = 0;
#pragma unroll
  for (int v = 0; v < 4 * NT; ++v) {
    float sum = 0.0f;
    for (unsigned y = 0; y < gridDim.y; ++y) sum += __ldcg(all + y * stretch + mine + v * 32);
    sums[v / 4][v % 4] = sum;
  }
  return true;
}

template <class F, int NT, bool kPaired>
__global__ void __launch_bounds__(32 * kWarps) kernel(const Args args) {
  extern __shared__ uint4 ring[];  // kStages stages; then, for SwiGLU, the up rows' sums
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  constexpr int kOutTiles = kPaired ? kWarps / 2 : kWarps;
  // Past the last tile a warp computes it once more, for company at the barriers, and drops it.
  int64_t row_tile = int64_t{blockIdx.x} * kOutTiles + warp % kOutTiles;
  const bool mine = row_tile * kTileRows < args.out_rows;
  if (!mine) row_tile = (args.out_rows - 1) / kTileRows;
  const int64_t first_row = row_tile * kTileRows;
  const bool up = kPaired && warp >= kOutTiles;
  const int64_t tiles = args.part.col_tiles();
  const int64_t begin = tiles * blockIdx.y / gridDim.y, end = tiles * (blockIdx.y + 1) / gridDim.y;

  float sums[NT][4] = {};
  multiply<F, NT>(args, up ? row_tile + args.out_rows / kTileRows : row_tile, begin, end, ring, sums);
  if (gridDim.y > 1 && !meet<NT>(args, warp, lane, sums)) return;

  const auto each = [&](auto&& body) {  // body(n, i, token, row)
#pragma unroll
    for (int n = 0; n < NT; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = 8 * n + 2 * (lane % 4) + i % 2;
        const int64_t row = first_row + lane / 4 + 8 * (i / 2);
        if (mine && token < args.num_tokens && row < args.out_rows) body(n, i, token, row);
      }
    }
  };
  const auto scale_of = [&](int token) { return args.in.scale != nullptr ? args.in.scale[token] : 1.0f; };
  if constexpr (kPaired) {
    auto* const ups = reinterpret_cast<float(*)[NT * 4][32]>(ring);
    __syncthreads();
    if (up) {
#pragma unroll
      for (int v = 0; v < 4 * NT; ++v) ups[warp - kOutTiles][v][lane] = sums[v / 4][v % 4];
    }
    __syncthreads();
    if (up) return;
    float largest[NT][2] = {};  // of the lane's tokens
    each([&](int n, int i, int token, int64_t row) {
      const float gate = sums[n][i] * scale_of(token), other = ups[warp][4 * n + i][lane] * scale_of(token);
      const float h = gate / (1.0f + __expf(-gate)) * other;
      args.out.data[token * args.out.stride + row] = h;
      largest[n][i % 2] = fmaxf(largest[n][i % 2], fabsf(h));
    });
    if (args.out.row_max == nullptr) return;
#pragma unroll
    for (int n = 0; n < NT; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int token = 8 * n + 2 * (lane % 4) + i;
        skinny::fold_row_max(args.out.row_max + token, token < args.num_tokens, largest[n][i]);
      }
    }
  } else {
    each([&](int n, int i, int token, int64_t row) {
      float* const out = args.out.data + token * args.out.stride + args.part.first_row + row;
      const float y = sums[n][i] * scale_of(token);
      *out = args.epilogue == Epilogue::Add ? *out + y : y;
    });
  }
}

template <class F, int NT, bool kPaired>
void launch(const Args& args, dim3 grid, cudaStream_t stream) {
  constexpr int kRing = kStages * 8 * NT * 128, kUps = kPaired ? kWarps / 2 * NT * 4 * 32 * 4 : 0;
  constexpr int kShared = kRing > kUps ? kRing : kUps;
  [[maybe_unused]] static const bool raised = [] {
    CUDA_CHECK(
        cudaFuncSetAttribute(kernel<F, NT, kPaired>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared));
    return true;
  }();
  kernel<F, NT, kPaired><<<grid, 32 * kWarps, kShared, stream>>>(args);
  CUDA_CHECK_LAUNCH();
}

template <class F>
void launch(const Args& args, dim3 grid, cudaStream_t stream) {
  const auto start = [&]<int NT>() {
    args.epilogue == Epilogue::SwiGlu ? launch<F, NT, true>(args, grid, stream)
                                      : launch<F, NT, false>(args, grid, stream);
  };
  if (args.num_tokens <= 32) {
    start.template operator()<4>();
  } else if (args.num_tokens <= 64) {
    start.template operator()<8>();
  } else {
    start.template operator()<16>();
  }
}

// One definition a family of formats, each in its own file: they compile side by side.
void launch_blocks_of_32(const Args& args, dim3 grid, cudaStream_t stream);
void launch_blocks_of_256(const Args& args, dim3 grid, cudaStream_t stream);

}  // namespace qwend::cuda::wide
