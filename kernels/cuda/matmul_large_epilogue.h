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
// out[t][first + i] = silu(gate[t][i] * in.scale[t]) * up[t][i] * in.scale[t] / out.scale[t], and
// out.scale[t] by gated_scale(weight_norms, in.norm[t]). gate and up share a stride.
void swiglu_rows(const FloatRows& gate, const float* up, int64_t first, int64_t width, int32_t num_tokens,
                 const HalfRows& in, const float* weight_norms, const HalfRowsOut& out, cudaStream_t stream);

}  // namespace qwend::cuda
