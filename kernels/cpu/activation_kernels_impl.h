// Kernels over activations: rounding them for block formats, and SwiGLU. Plain loops that compilers turn into
// vectors.
//
// Included by matmul_kernels_impl.h, under its rules.
#pragma once
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/unpack_kernels_impl.h"

namespace qwend::cpu {
namespace {

// Rounds to nearest, ties to even. Integer reductions throughout, so that the compiler can use
// vectors without changing any result.
void quantize(const float* x, int64_t cols, ActivationUnit* out, int64_t out_stride) {
  for (int64_t c = 0; c < cols; c += kUnit, x += kUnit, out += out_stride) {
    int32_t max_bits = 0;  // magnitudes of floats compare like their bits
    for (int i = 0; i < kUnit; ++i) {
      const int32_t bits = __builtin_bit_cast(int32_t, x[i]) & 0x7fffffff;
      max_bits = bits > max_bits ? bits : max_bits;
    }
    using Scale = UnitScale;
    const int32_t largest = (max_bits >> 23) <= Scale::kMost ? (max_bits + Scale::kCarry) >> 23 : 255;
    const bool usable = largest <= Scale::kMost;
    const int32_t biased = !usable ? Scale::kMost : largest < Scale::kLeast ? Scale::kLeast : largest;
    const float inverse = usable ? __builtin_bit_cast(float, (267 - biased) << 23) : 0.0f;  // 2^-k
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    int32_t q[kUnit];
    for (int i = 0; i < kUnit; ++i) {
      q[i] = __builtin_bit_cast(int32_t, x[i] * inverse + kRound) - __builtin_bit_cast(int32_t, kRound);
    }
    if (!usable) __builtin_memset(q, 0, sizeof(q));
    int32_t sums[2] = {};
    for (int i = 0; i < kUnit / 2; ++i) {
      sums[0] += q[i];
      sums[1] += q[i + kUnit / 2];
    }
    for (int i = 0; i < kUnit; ++i) {
      const int32_t high = (q[i] + 64) >> 7;
      out->high[i] = static_cast<int8_t>(high);
      out->low[i] = static_cast<int8_t>(q[i] - 128 * high);
    }
    out->exponent = usable ? (biased - Scale::kLeast) << 23 : Scale::kNan;
    const float scale =
        __builtin_bit_cast(float, usable ? (biased + 127 - Scale::kLeast) << 23 : Scale::kNan);
    out->negative_sum = -(sums[0] + sums[1]);
    out->scaled_sum = scale * static_cast<float>(sums[0] + sums[1]);
    for (int h = 0; h < 2; ++h) {
      out->negative_half_sums[h] = -sums[h];
      out->scaled_half_sums[h] = scale * static_cast<float>(sums[h]);
    }
  }
}

// e^x by 2^n * polynomial; relative error below 1e-6 on [-87, 88], clamped outside.
QWEND_INLINE float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  // (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, interpolated at Chebyshev nodes: 1e-8 of e^r.
  float p = 1.392621347e-3f;
  p = p * r + 8.363202972e-3f;
  p = p * r + 4.166655444e-2f;
  p = p * r + 1.666657685e-1f;
  p = p * r + 5.000000000e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t exponent = static_cast<int32_t>(n) + 127;
  return p * __builtin_bit_cast(float, exponent << 23);
}

void swiglu(const float* gate, const float* up, float* out) {
  for (int i = 0; i < kPanelRows; ++i) out[i] = gate[i] / (1.0f + exp_of(-gate[i])) * up[i];
}

}  // namespace
}  // namespace qwend::cpu
