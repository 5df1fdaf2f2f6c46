// How activations travel between kernels.
#pragma once
#include <cuda_fp16.h>

#include <bit>
#include <cstdint>

namespace qwend::cuda {

// Rows that a matrix product reads: FP16 with a power of two a row, x[t][i] = rows[t * stride + i] *
// scale[t]. The producer picks the scale so that the row's largest value lies in [2^13, 2^14): nothing
// overflows, however large Qwen2's outlier channels grow, and a value keeps 11 significant bits down to 2^-28
// of the row's largest. stride is a multiple of 64 elements; columns from width to stride are zero.
//
// What decides on more than its own size (attention scores, the choice of experts, logits) travels in two
// planes: low holds what rows left over, so that x[t][i] = (rows + low) * scale has 22 bits down to 2^-16 of
// the row's largest. Products add both planes' sums.
struct HalfRows {
  const __half* rows = nullptr;  // [T, stride]
  const float* scale = nullptr;  // [T]; nullptr: all 1
  int64_t stride = 0;
  const __half* low = nullptr;  // [T, stride], or nullptr: one plane
  const float* norm = nullptr;  // [T], the L2 norms of rows x[t], where the producer knows them

  HalfRows from(int64_t first) const {
    return {rows + first * stride, scale != nullptr ? scale + first : nullptr, stride,
            low != nullptr ? low + first * stride : nullptr, norm != nullptr ? norm + first : nullptr};
  }
  HalfRows high_plane() const { return {rows, scale, stride, nullptr, norm}; }
  HalfRows unscaled() const { return {rows, nullptr, stride, low, norm}; }
};

// Where a producer writes such rows.
struct HalfRowsOut {
  __half* rows = nullptr;  // 16-byte aligned
  float* scale = nullptr;  // nullptr: rows are written as they are, where the caller knows that they fit FP16
  int64_t stride = 0;
  __half* low = nullptr;  // the second plane, 16-byte aligned; nullptr: not wanted
  float* norm = nullptr;  // nullptr: not wanted
};

inline constexpr int64_t padded_width(int64_t width) { return (width + 63) / 64 * 64; }

// The power of two that brings a row whose largest magnitude is `largest` into [2^13, 2^14), as its inverse:
// what to multiply FP16 values by to have the row back. At least 2^-126, so that its own inverse is finite;
// 1 for a row with infinities or NaN, which stay what they are.
__host__ __device__ inline float row_scale(float largest) {
  const uint32_t exponent = std::bit_cast<uint32_t>(largest) >> 23 & 0xffu;  // 2^(exponent - 127) <= largest
  if (exponent == 0xffu) return 1.0f;
  return std::bit_cast<float>((exponent > 14u ? exponent - 13u : 1u) << 23);
}

// The scale of a row of SwiGLU outputs, known before any of them: |silu(w_g x) (w_u x)| <= |w_g| |w_u| |x|^2.
// weight_norms: the largest of a gate and of an up row. Real rows stay 2^8 to 2^12 below that bound, of the
// 2^28 that FP16 can spare (above).
__host__ __device__ inline float gated_scale(const float* weight_norms, float input_norm) {
  return row_scale(weight_norms[0] * input_norm * (weight_norms[1] * input_norm));
}

}  // namespace qwend::cuda
