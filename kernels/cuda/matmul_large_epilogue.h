// What follows a large product: its FP32 sums are multiplied by the rows' scales and stored, added or gated.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

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
// out[t][i] = silu(gate[t][i] * scale[t]) * up[t][i] * scale[t]; its largest magnitude is folded into
// row_max[t] where that is given. gate and up share a stride.
void swiglu_rows(const FloatRows& gate, const float* up, int64_t width, int32_t num_tokens,
                 const float* scale, const FloatRows& out, uint32_t* row_max, cudaStream_t stream);

}  // namespace qwend::cuda
