// Products of few rows on tensor cores, straight from the weights: the kernel and its launch, for one weight
// format.
//
// Weights are the 16-row operand (m), tokens the 8-column one (n): a decode step of one token wastes
// tensor-core work, which is free, and no bandwidth. A CTA owns 16 rows (SwiGLU: 16 gate rows and the 16 up
// rows that belong to them); its 8 warps take the 64-column tiles in turn and add up their sums in shared
// memory in a fixed order, so that a token's result depends on neither the number of tokens nor on timing.
//
// A token in two planes takes two neighbouring columns: up to four of them cost nothing, as the tile has 8.
#pragma once
#include <cuda_fp16.h>

#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/tile_format.cuh"

namespace qwend::cuda::skinny {

inline constexpr int kWarps = 8;  // that share the columns of 16 rows

struct Args {
  WeightPart part;
  int64_t up_row = 0;  // SwiGLU: the part's row that belongs to gate row 0; a multiple of 16
  HalfRows in;
  Epilogue epilogue = Epilogue::Store;
  MatmulOut out;
  int64_t out_rows = 0;  // rows of the part that are written, from its first on (SwiGLU: gate rows)
  int32_t num_tokens = 0;
  // Expert products: the pairs of expert blockIdx.y instead of tokens 0 .. num_tokens. offsets: nullptr for
  // none.
  ExpertPairs pairs;
  // Where token (or pair) i is read and written.
  __device__ int input_row(int i) const { return pairs.offsets != nullptr ? pairs.input_rows[i] : i; }
  __device__ int output_row(int i) const { return pairs.offsets != nullptr ? pairs.output_rows[i] : i; }
};

// What the n-tile columns of tokens (or pairs) begin .. end read and write. In two planes, columns 2 i and
// 2 i + 1 are token i's high and low one.
template <bool kTwoPlanes>
struct Columns {
  const Args& args;
  int begin, end;
  __device__ int token(int column) const { return begin + (kTwoPlanes ? column / 2 : column); }
  __device__ int input_row(int column) const {
    return args.input_row(min(token(column), end - 1));  // beyond the end: any row, its result is dropped
  }
  __device__ const __half* input(int column) const {
    const __half* const plane = kTwoPlanes && column % 2 == 1 ? args.in.low : args.in.rows;
    return plane + input_row(column) * args.in.stride;
  }
  // Whether a result is made of this column (and, in two planes, of the next).
  __device__ bool there(int column) const { return token(column) < end && !(kTwoPlanes && column % 2 == 1); }
  __device__ int output_row(int column) const { return args.output_row(token(column)); }
};

// ---- formats as the kernel sees them: load a tile's share, then for each of its 4 steps of 16 columns the A
// fragment; `columns of B` are where the lane's 4 activations of a step lie.

template <class F>
struct Blocks {
  using Share = TileShare<F>;
  static constexpr int kStepsPerGroup = F::kGroup / 16;
  static constexpr bool kHasMin = F::kHasMin, kScaled = true;
  const std::byte* tiles;  // of this CTA's 16 rows
  const std::byte* supers;
  __device__ Blocks(const WeightPart& part, int64_t expert, int64_t row_tile) {
    using T = TileFormat<F>;
    const int64_t row = expert * part.row_tiles() + row_tile;
    tiles = part.data + row * part.col_tiles() * T::kBytes;
    supers = part.supers + row * (part.cols / 256) * kTileRows * T::kSuperBytes;
  }
  __device__ void load(int64_t tile, int lane, Share& share) const {
    using T = TileFormat<F>;
    load_share<F>(tiles + tile * T::kBytes, supers + tile / 4 * kTileRows * T::kSuperBytes, lane, share);
  }
  __device__ static void fragment(const Share& share, int s, uint32_t (&a)[4]) { expand<F>(share, s, a); }
  __device__ static float scale(const Share& share, int r, int s) {
    return tile_scale<F>(share, r, s / kStepsPerGroup);
  }
  __device__ static float minimum(const Share& share, int r, int s) {
    return tile_min<F>(share, r, s / kStepsPerGroup);
  }
  // 8 bytes: columns 16 s + 4 c .. + 3
  __device__ static void activations(const __half* row, int s, int c, uint32_t (&b)[2]) {
    const uint2 v = __ldg(reinterpret_cast<const uint2*>(row + 16 * s + 4 * c));
    b[0] = v.x, b[1] = v.y;
  }
};

// Row-major FP16. The lane owns columns 32 j + 8 c .. + 7 of each half j of the tile: one 16-byte load a row
// feeds steps 2j and 2j + 1.
struct HalfFormat {
  struct Share {
    uint4 v[2][2];  // [rows g, g + 8][j]
  };
  static constexpr int kStepsPerGroup = 4;
  static constexpr bool kHasMin = false, kScaled = false;
  const __half* row[2];
  __device__ HalfFormat(const WeightPart& part, int64_t expert, int64_t row_tile) {
    const int g = threadIdx.x % 32 / 4;
    for (int r = 0; r < 2; ++r) {
      const int64_t at = min(row_tile * kTileRows + g + 8 * r, part.rows - 1);  // beyond the end: dropped
      row[r] =
          reinterpret_cast<const __half*>(part.data) + (expert * part.rows + at) * padded_width(part.cols);
    }
  }
  __device__ void load(int64_t tile, int lane, Share& share) const {
    const int64_t at = tile * kTileCols + 8 * (lane % 4);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      share.v[r][0] = stream_load16(row[r] + at);
      share.v[r][1] = stream_load16(row[r] + at + 32);
    }
  }
  __device__ static void fragment(const Share& share, int s, uint32_t (&a)[4]) {
    const uint4 low = share.v[0][s / 2], high = share.v[1][s / 2];
    if (s % 2 == 0) {
      a[0] = low.x, a[1] = high.x, a[2] = low.y, a[3] = high.y;
    } else {
      a[0] = low.z, a[1] = high.z, a[2] = low.w, a[3] = high.w;
    }
  }
  __device__ static float scale(const Share&, int, int) { return 1.0f; }
  __device__ static float minimum(const Share&, int, int) { return 0.0f; }
  __device__ static void activations(const __half* row_of_x, int s, int c, uint32_t (&b)[2]) {
    const uint2 v = __ldg(reinterpret_cast<const uint2*>(row_of_x + 32 * (s / 2) + 8 * c + 4 * (s % 2)));
    b[0] = v.x, b[1] = v.y;
  }
};

// Adds the products of one tile to sums[NT][4] (rows g: 0, 1; g + 8: 2, 3). activations(n, s, b): the B
// fragment of n-tile n for step s.
template <class Format, int NT, class Activations>
__device__ void add_tile(const typename Format::Share& share, Activations&& activations,
                         float (&sums)[NT][4]) {
  constexpr uint32_t kOnes[4] = {0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u};
  constexpr int kSteps = Format::kStepsPerGroup;
#pragma unroll
  for (int group = 0; group < 4 / kSteps; ++group) {
    uint32_t a[kSteps][4];
#pragma unroll
    for (int i = 0; i < kSteps; ++i) Format::fragment(share, group * kSteps + i, a[i]);
    const float scale[2] = {Format::scale(share, 0, group * kSteps), Format::scale(share, 1, group * kSteps)};
    const float minimum[2] = {Format::minimum(share, 0, group * kSteps),
                              Format::minimum(share, 1, group * kSteps)};
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      float product[4] = {}, total[4] = {};  // of the columns that share a scale; total: sums of activations
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        uint32_t b[2];
        activations(n, group * kSteps + i, b);
        mma_f16(Format::kScaled ? product : sums[n], a[i], b);
        if constexpr (Format::kHasMin) mma_f16(total, kOnes, b);
      }
      if constexpr (Format::kScaled) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[n][i] = fmaf(scale[i / 2], product[i], sums[n][i]);
          if constexpr (Format::kHasMin) sums[n][i] = fmaf(-minimum[i / 2], total[i], sums[n][i]);
        }
      }
    }
  }
}

// What a warp needs of one 64-column tile. With few tokens their fragments come along with the weights:
// fetched only when they are used, they cost a round trip to L2 a tile, which is most of a small matrix's
// time.
template <class Format, int NT, bool kAhead>
struct Work {
  typename Format::Share weights;
  uint32_t b[kAhead ? NT : 1][4][2];

  __device__ void load(const Format& format, const __half* const (&x)[NT], int64_t tile, int lane) {
    format.load(tile, lane, weights);
    if constexpr (kAhead) {
#pragma unroll
      for (int n = 0; n < NT; ++n) {
#pragma unroll
        for (int s = 0; s < 4; ++s) Format::activations(x[n] + tile * kTileCols, s, lane % 4, b[n][s]);
      }
    }
  }
  __device__ void add(const __half* const (&x)[NT], int64_t tile, int lane, float (&sums)[NT][4]) const {
    add_tile<Format, NT>(
        weights,
        [&](int n, int s, uint32_t(&fragment)[2]) {
          if constexpr (kAhead) {
            fragment[0] = b[n][s][0], fragment[1] = b[n][s][1];
          } else {
            Format::activations(x[n] + tile * kTileCols, s, lane % 4, fragment);
          }
        },
        sums);
  }
};

// Sums of 16 rows and 8 NT columns over this warp's tiles.
template <class Format, int NT, bool kAhead>
__device__ void multiply(const Format& format, int64_t col_tiles, const __half* const (&x)[NT], int warp,
                         int lane, float (&sums)[NT][4]) {
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[n][i] = 0.0f;
  }
  if (warp >= col_tiles) return;
  Work<Format, NT, kAhead> now, next;  // the next tile is on its way while this one is computed
  now.load(format, x, warp, lane);
#pragma unroll 1
  for (int64_t tile = warp; tile < col_tiles; tile += kWarps) {
    if (tile + kWarps < col_tiles) next.load(format, x, tile + kWarps, lane);
    now.add(x, tile, lane, sums);
    now = next;
  }
}

// Row and column of value i of a lane in n-tile n: rows g + 8 (i / 2), columns 8 n + 2 c + i % 2.
__device__ inline int value_row(int lane, int i) { return lane / 4 + 8 * (i / 2); }
__device__ inline int value_column(int lane, int n, int i) { return 8 * n + 2 * (lane % 4) + i % 2; }

// Folds |h| of the lane's row into its token's maximum: lanes 4g + c of equal c hold the same token, and meet
// first. (One atomic a value held the wide products back: 64 tokens of 7B gate and up, Q8_0, took 287 us, 142
// without; one token alone did not notice.)
__device__ inline void fold_row_max(uint32_t* row_max, bool there, float h) {
  float largest = there ? fabsf(h) : 0.0f;
#pragma unroll
  for (int d = 4; d < 32; d *= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, d));
  if (threadIdx.x % 32 < 4 && there) atomicMax(row_max, __float_as_uint(largest));
}

// kPaired: SwiGLU, two row tiles a CTA and twice the warps.
template <class Format, int NT, bool kPaired, bool kTwoPlanes>
__global__ void __launch_bounds__(32 * kWarps * (kPaired ? 2 : 1)) kernel(const Args args) {
  constexpr int kTiles = kPaired ? 2 : 1;
  extern __shared__ float partial_sums[];  // [kTiles][kWarps][4 NT][32]
  follow_stream();
  auto* const partial = reinterpret_cast<float(*)[kWarps][NT * 4][32]>(partial_sums);
  const int warp = threadIdx.x / 32 % kWarps, half = threadIdx.x / 32 / kWarps, lane = threadIdx.x % 32;
  const int64_t expert = blockIdx.y;
  const bool by_expert = args.pairs.offsets != nullptr;
  const int first = by_expert ? args.pairs.offsets[expert] : 0;
  const int last = by_expert ? args.pairs.offsets[expert + 1] : args.num_tokens;
  const int64_t row_tile = blockIdx.x + (half == 1 ? args.up_row / kTileRows : 0);
  const Format format(args.part, expert, row_tile);

  constexpr int kStep = kTwoPlanes ? 4 * NT : 8 * NT;
  for (int begin = first; begin < last; begin += kStep) {
    const Columns<kTwoPlanes> columns{args, begin, last};
    const __half* x[NT];
#pragma unroll
    for (int n = 0; n < NT; ++n) x[n] = columns.input(8 * n + lane / 4);
    float sums[NT][4];
    // Gate and up have 16 warps a CTA: fetching ahead takes registers that cost the second CTA of a
    // multiprocessor (7B, Q4_K: 65 us instead of 47; Q6_K: 69 instead of 49).
    constexpr bool kAhead = NT <= 2 && !kPaired;
    multiply<Format, NT, kAhead>(format, args.part.col_tiles(), x, warp, lane, sums);
#pragma unroll
    for (int n = 0; n < NT; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) partial[half][warp][4 * n + i][lane] = sums[n][i];
    }
    __syncthreads();

    for (int v = threadIdx.x; v < NT * 4 * 32; v += blockDim.x) {
      const int value_lane = v % 32, n = v / 32 / 4, i = v / 32 % 4;
      const int column = value_column(value_lane, n, i);
      const int64_t row = int64_t{blockIdx.x} * kTileRows + value_row(value_lane, i);
      const bool there = columns.there(column) && row < args.out_rows;
      float y[kTiles] = {};
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
        for (int w = 0; w < kWarps; ++w) y[tile] += partial[tile][w][4 * n + i][value_lane];
        if (kTwoPlanes && i % 2 == 0) {  // the next column is the next value of the same lane
          float low = 0.0f;
#pragma unroll
          for (int w = 0; w < kWarps; ++w) low += partial[tile][w][4 * n + i + 1][value_lane];
          y[tile] += low;
        }
        if (args.in.scale != nullptr) y[tile] *= args.in.scale[columns.input_row(column)];
      }
      const int64_t to = there ? columns.output_row(column) : 0;
      float* const out = args.out.data + to * args.out.stride + args.part.first_row + row;
      if constexpr (kPaired) {
        const float h = y[0] / (1.0f + __expf(-y[0])) * y[1];
        if (there) *out = h;
        if (args.out.row_max != nullptr) fold_row_max(args.out.row_max + to, there, h);
      } else if (there) {
        *out = args.epilogue == Epilogue::Add ? *out + y[0] : y[0];
      }
    }
    if (begin + kStep < last) __syncthreads();  // before the sums are overwritten
  }
}

// Launches over the part's row tiles (and experts).
template <class Format, int NT>
void launch(const Args& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((args.out_rows + kTileRows - 1) / kTileRows),
                  args.pairs.offsets != nullptr ? static_cast<unsigned>(args.pairs.num_experts) : 1u);
  const auto start = [&]<bool kPaired, bool kTwoPlanes>() {
    constexpr int kTiles = kPaired ? 2 : 1,
                  kShared = kTiles * kWarps * NT * 4 * 32 * static_cast<int>(sizeof(float));
    [[maybe_unused]] static const bool raised = [] {  // beyond 48 KB only on demand
      CUDA_CHECK(cudaFuncSetAttribute(kernel<Format, NT, kPaired, kTwoPlanes>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, kShared));
      return true;
    }();
    launch_following(kernel<Format, NT, kPaired, kTwoPlanes>, grid, 32 * kWarps * kTiles, kShared, stream,
                     args);
  };
  if (args.epilogue == Epilogue::SwiGlu) {
    start.template operator()<true, false>();
  } else if (args.in.low == nullptr) {
    start.template operator()<false, false>();
  } else {
    start.template operator()<false, true>();
  }
}

// NT by the number of columns that a CTA meets: tokens, or twice what an expert gets on average, in one or
// two planes.
template <class Format>
void launch(const Args& args, cudaStream_t stream) {
  const int tokens = args.pairs.offsets != nullptr
                         ? std::min(32, 2 * args.pairs.max_pairs / args.pairs.num_experts)
                         : args.num_tokens;
  const int columns = args.in.low != nullptr ? 2 * tokens : tokens;
  if (columns <= 8) {
    launch<Format, 1>(args, stream);
  } else if (columns <= 16) {
    launch<Format, 2>(args, stream);
  } else if (columns <= 32) {
    launch<Format, 4>(args, stream);
  } else {
    launch<Format, 8>(args, stream);
  }
}

// One definition a family of formats, each in its own file: they compile side by side.
void launch_half(const Args& args, cudaStream_t stream);
void launch_float(const Args& args, cudaStream_t stream);
void launch_blocks_of_32(const Args& args, cudaStream_t stream);
void launch_blocks_of_256(const Args& args, cudaStream_t stream);

}  // namespace qwend::cuda::skinny
