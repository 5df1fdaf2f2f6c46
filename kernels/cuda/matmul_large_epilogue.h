// What follows a large product: its FP32 sums are multiplied by the rows' scales and stored, added or gated.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/activations.h"

namespace qwend::cuda {

// FP32 rows [T, stride].
struct FloatRows {
  float* data = nullptr;
  int64_t stride = 0;
};

// scale: [T], or nullptr for all 1. All work on `width` columns of num_tokens rows.
// y[t][i] *= scale[t]
void scale_rows(const FloatRows& y, int64_t width, int32_t num_tokens, const float* scale,
                cudaStream_t stream);
// out[t][i] += y[t][i] * scale[t]
void add_rows(const FloatRows& y, int64_t width, int32_t num_tokens, const float* scale, const FloatRows& out,
              cudaStream_t stream);

// Sums of gate rows and of the up rows that belong to them, [T, stride] each: float, or __half where they
// have been multiplied by a power of two that keeps them within FP16.
template <class Element>
struct GatedSums {
  const Element *gate, *up;
  int64_t stride;
  float factor = 1.0f;  // what to multiply by to have the sums back
};

// With g and u as gate's and up's values times `factor` and in.scale[t]: out[t][first + i] = silu(g[t][i]) *
// u[t][i] / out.scale[t], and out.scale[t] by gated_scale(weight_norms, in.norm[t]). __half: all strides,
// `first` and `width` are multiples of four.
template <class Element>
void swiglu_rows(const GatedSums<Element>& sums, int64_t first, int64_t width, int32_t num_tokens,
                 const HalfRows& in, const float* weight_norms, const HalfRowsOut& out, cudaStream_t stream);

}  // namespace qwend::cuda
