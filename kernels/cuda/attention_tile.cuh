// What the attention kernels have in common: one warp attends 16 rows of queries to tiles of keys and values
// in shared memory (FlashAttention-2's online softmax on m16n8k16 fragments), and finds its sequence.
//
// A row is one query head of one token; the rows of a warp share a KV head. Lane 4 g + c works for rows g and
// g + 8. Scores are base-2 logarithms: log2(e) / sqrt(hd) is multiplied into the queries.
#pragma once
#include <cstdint>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/mma.cuh"

namespace qwend::cuda {

inline constexpr int32_t kWarpRows = 16;  // rows of queries that one warp attends

// Weights are scaled by 2^14 before they are rounded to FP16: at most 2^14, and a weight keeps all its bits
// down to 2^-28 of the row's largest. Sums are scaled alike.
inline constexpr float kWeightShift = 14.0f;

// Where 16 bytes `chunk` of row `row` of a [rows, kHeadDim] tile stand (in halves): permuted, so that 8 rows
// of one chunk lie in 8 different groups of banks.
template <int kHeadDim>
__device__ __forceinline__ int32_t tile_offset(int32_t row, int32_t chunk) {
  return row * kHeadDim + ((chunk ^ (row & 7)) * 8);
}

// A pair of halves, as fragments hold them, of the high and of the low parts of x and y.
__device__ __forceinline__ void split_pair(float x, float y, uint32_t& high, uint32_t& low) {
  const SplitHalf a = split_half(x), b = split_half(y);
  high = half2_bits(__halves2half2(a.high, b.high));
  low = half2_bits(__halves2half2(a.low, b.low));
}

// 16 rows of queries as A fragments, each value as the sum of two halves (22 significant bits: Qwen2's key
// biases of several hundred would blow an 11-bit query's rounding up to whole units of the exponent). In
// registers; for the widest heads in shared memory, every lane's own.
template <int kHeadDim>
class Queries {
 public:
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr bool kInShared = kHeadDim > 128;
  static constexpr int kSharedBytesPerWarp = kInShared ? kSteps * 2 * kWarp * 16 : 0;

  // upper, lower: rows g and g + 8 [kHeadDim], or nullptr for zeros. shared: kSharedBytesPerWarp, this
  // warp's.
  __device__ void load(const float* upper, const float* lower, float scale, uint4* shared) {
    shared_ = shared;
    const int32_t column = lane_index() % 4 * 2;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      uint32_t high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* row = i % 2 == 0 ? upper : lower;
        float2 q = make_float2(0.0f, 0.0f);
        if (row != nullptr) q = *reinterpret_cast<const float2*>(row + k * 16 + i / 2 * 8 + column);
        split_pair(q.x * scale, q.y * scale, high[i], low[i]);
      }
      store(k, high, low);
    }
  }
  __device__ __forceinline__ void fragments(int k, uint32_t (&high)[4], uint32_t (&low)[4]) const {
    if constexpr (kInShared) {
      const uint4 h = shared_[(k * 2) * kWarp + lane_index()],
                  l = shared_[(k * 2 + 1) * kWarp + lane_index()];
      high[0] = h.x, high[1] = h.y, high[2] = h.z, high[3] = h.w;
      low[0] = l.x, low[1] = l.y, low[2] = l.z, low[3] = l.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) high[i] = high_[k][i], low[i] = low_[k][i];
    }
  }

 private:
  __device__ __forceinline__ void store(int k, const uint32_t (&high)[4], const uint32_t (&low)[4]) {
    if constexpr (kInShared) {
      shared_[(k * 2) * kWarp + lane_index()] = make_uint4(high[0], high[1], high[2], high[3]);
      shared_[(k * 2 + 1) * kWarp + lane_index()] = make_uint4(low[0], low[1], low[2], low[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) high_[k][i] = high[i], low_[k][i] = low[i];
    }
  }

  uint4* shared_;
  uint32_t high_[kInShared ? 1 : kSteps][4], low_[kInShared ? 1 : kSteps][4];
};

// The running state of 16 rows: out = sums over the keys so far of 2^(score - maximum) times the value, and
// of the weights alone. Starts empty.
//
// A tile of keys and values is some planes [kKeys, kHeadDim]: keys, values, and for kPrecise the low halves
// of keys and of values.
template <int kHeadDim, int kKeys, bool kPrecise>
class WarpAttention {
 public:
  static_assert(kHeadDim % 64 == 0 && kKeys % 16 == 0);
  static constexpr int kPlaneHalves = kKeys * kHeadDim;
  static constexpr int kPlanes = kPrecise ? 4 : 2;
  Queries<kHeadDim> queries;
  float out[kHeadDim / 8][4];  // C fragments
  float maximum[2];            // of rows g and g + 8: the same in the four lanes of a row
  float sum[2];                // this lane's columns alone until finish()

  __device__ void clear() {
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] = 0.0f;
    maximum[0] = maximum[1] = -INFINITY;
    sum[0] = sum[1] = 0.0f;
  }

  // Takes in one tile. The first visible[r] keys count for row g + 8 r; values of the others must be finite.
  // The first tile must show every row a key.
  __device__ __forceinline__ void attend(const __half* tile, const int32_t (&visible)[2]) {
    float scores[kKeys / 8][4];
    multiply_keys(tile, scores);
    hide(scores, visible);
    Weights weights;
    softmax_step(scores, weights);
    add_values(tile + kPlaneHalves, weights);
  }

  // Completes the sums; call once, last.
  __device__ void finish() {
    sum[0] = lanes_sum<4>(sum[0]);
    sum[1] = lanes_sum<4>(sum[1]);
  }

 private:
  static constexpr int kLowPlane = 2 * kPlaneHalves;  // from a plane to that of its low halves

  struct Weights {  // A fragments over the keys
    uint32_t high[kKeys / 16][4];
    uint32_t low[kPrecise ? kKeys / 16 : 1][4];
  };

  // Registers are scarce when precise: addresses made of these are computed for each tile, not kept from tile
  // to tile.
  __device__ __forceinline__ static void forget_origin(int32_t& row, int32_t& half) {
    asm volatile("" : "+r"(row), "+r"(half));
  }

  __device__ __forceinline__ void multiply_keys(const __half* keys, float (&scores)[kKeys / 8][4]) const {
    // Low halves in sums of their own: with few keys, or each product would wait for the one before; when
    // precise, as tensor cores cut off what a large sum can't hold.
    constexpr int kChains = kPrecise || kKeys <= 16 ? 2 : 1;
    float sums[kChains][kKeys / 8][4];
#pragma unroll
    for (int chain = 0; chain < kChains; ++chain)
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[chain][n][i] = 0.0f;

    // Matrices of one load: keys 0-7 and columns 0-7, 8-15; then keys 8-15.
    int32_t row = (lane_index() & 7) + (lane_index() >> 4) * 8, half = (lane_index() >> 3) & 1;
    if constexpr (kPrecise) forget_origin(row, half);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      uint32_t high[4], low[4];
      queries.fragments(k, high, low);
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t b[4];
        const __half* from = keys + tile_offset<kHeadDim>(n * 8 + row, k * 2 + half);
        load_matrices(b, from);
        mma_f16(sums[0][n], high, {b[0], b[1]});
        mma_f16(sums[0][n + 1], high, {b[2], b[3]});
        mma_f16(sums[kChains - 1][n], low, {b[0], b[1]});
        mma_f16(sums[kChains - 1][n + 1], low, {b[2], b[3]});
        if constexpr (kPrecise) {
          load_matrices(b, from + kLowPlane);
          mma_f16(sums[1][n], high, {b[0], b[1]});
          mma_f16(sums[1][n + 1], high, {b[2], b[3]});
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        scores[n][i] = kChains == 2 ? sums[0][n][i] + sums[kChains - 1][n][i] : sums[0][n][i];
  }

  __device__ __forceinline__ static void hide(float (&scores)[kKeys / 8][4], const int32_t (&visible)[2]) {
    if (visible[0] >= kKeys && visible[1] >= kKeys) return;
    const int32_t column = lane_index() % 4 * 2;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (n * 8 + column + i % 2 >= visible[i / 2]) scores[n][i] = -INFINITY;
  }

  // scores to weights relative to the running maximum
  __device__ __forceinline__ void softmax_step(const float (&scores)[kKeys / 8][4], Weights& weights) {
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = scores[0][2 * r];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) top = fmaxf(top, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
      top = fmaxf(maximum[r], lanes_max<4>(top));
      const float rescale = exp2_fast(maximum[r] - top);
      maximum[r] = top;
      shift[r] = top - kWeightShift;
      sum[r] *= rescale;
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
        out[n][2 * r] *= rescale;
        out[n][2 * r + 1] *= rescale;
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float x = exp2_fast(scores[n][2 * r] - shift[r]),
                    y = exp2_fast(scores[n][2 * r + 1] - shift[r]);
        const int i = n % 2 * 2 + r;
        if constexpr (kPrecise) {
          sum[r] += x + y;
          split_pair(x, y, weights.high[n / 2][i], weights.low[n / 2][i]);
        } else {
          const __half2 pair = __floats2half2_rn(x, y);
          const float2 rounded = __half22float2(pair);  // the sum is that of the weights in use
          sum[r] += rounded.x + rounded.y;
          weights.high[n / 2][i] = half2_bits(pair);
        }
      }
  }

  __device__ __forceinline__ void add_values(const __half* values, const Weights& weights) {
    // Matrices of one load: keys 0-7, 8-15 of columns 0-7; then of columns 8-15.
    int32_t row = lane_index() & 15, half = lane_index() >> 4;
    if constexpr (kPrecise) forget_origin(row, half);
    if constexpr (kPrecise) {
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; n += 2) add_columns(values, weights, n, row, half);
    } else {
#pragma unroll
      for (int k = 0; k < kKeys / 16; ++k)
#pragma unroll
        for (int n = 0; n < kHeadDim / 8; n += 2) {
          uint32_t b[4];
          load_matrices_transposed(b, values + tile_offset<kHeadDim>(k * 16 + row, n + half));
          mma_f16(out[n], weights.high[k], {b[0], b[1]});
          mma_f16(out[n + 1], weights.high[k], {b[2], b[3]});
        }
    }
  }

  // Precise, for fragments n and n + 1 of the columns: sums over this tile alone, small products first, are
  // added to those so far, rounded; tensor cores would cut them off, which adds up along a context.
  __device__ __forceinline__ void add_columns(const __half* values, const Weights& weights, int n,
                                              int32_t row, int32_t half) {
    __syncwarp();  // lest the compiler load fragments so far ahead that registers run out
    float sums[2][4] = {};
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      uint32_t b[4];
      const __half* from = values + tile_offset<kHeadDim>(k * 16 + row, n + half);
      load_matrices_transposed(b, from + kLowPlane);
      mma_f16(sums[0], weights.high[k], {b[0], b[1]});
      mma_f16(sums[1], weights.high[k], {b[2], b[3]});
      load_matrices_transposed(b, from);
      mma_f16(sums[0], weights.low[k], {b[0], b[1]});
      mma_f16(sums[1], weights.low[k], {b[2], b[3]});
      mma_f16(sums[0], weights.high[k], {b[0], b[1]});
      mma_f16(sums[1], weights.high[k], {b[2], b[3]});
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[n][i] += sums[0][i];
      out[n + 1][i] += sums[1][i];
    }
  }
};

// ---- work lists

struct SequenceItem {
  int32_t seq;    // -1: there is no such item
  int32_t index;  // of the item among the sequence's
};

// Finds item i of a list in which sequence s has count(s) items. Kernels get their work this way because the
// counts are known on the device alone. All lanes of a warp call it together; items must not fall from call
// to call.
class SequenceCursor {
 public:
  template <class Count>
  __device__ SequenceItem find(int32_t item, int32_t num_seqs, const Count& count) {
    for (; first_ < num_seqs; first_ += kWarp) {
      const int32_t seq = first_ + lane_index();
      const int32_t own = seq < num_seqs ? count(seq) : 0;
      const int32_t upto = before_ + warp_inclusive_sum(own);
      const uint32_t beyond = __ballot_sync(kAllLanes, item < upto);
      if (beyond != 0) {
        const int32_t lane = __ffs(static_cast<int>(beyond)) - 1;
        return {first_ + lane, item - __shfl_sync(kAllLanes, upto - own, lane)};
      }
      before_ = __shfl_sync(kAllLanes, upto, kWarp - 1);
    }
    return {-1, 0};
  }

 private:
  int32_t first_ = 0, before_ = 0;  // sequences from first_ on hold the items from before_ on
};

}  // namespace qwend::cuda
