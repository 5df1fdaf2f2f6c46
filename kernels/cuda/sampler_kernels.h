// The kernels of DeviceSampler.
#pragma once
#include <cuda_runtime.h>

#include "kernels/cuda/sampler_row.h"

namespace qwend::cuda {

// Memory of all rows on the device, [rows, groups] each, and where results go.
struct SamplerMemory {
  uint32_t* keys = nullptr;  // largest score of each group; FirstLook in sampler_draw.h
  float* sums = nullptr;
  uint32_t* raw_keys = nullptr;
  float* raw_sums = nullptr;
  int32_t* drawn = nullptr;  // [rows]
};

// Allows the kernels the shared memory that rows of this width need, on the current device.
void prepare_sampler_kernels(int64_t vocab);

// Scores of the rows edited[0 .. num_edited) that bias and penalties touch. Reads memory.drawn, the draws of
// the step before.
void edit_scores(const DeviceRow* rows, const int32_t* edited, int32_t num_edited, const float* logits,
                 int64_t vocab, const SamplerMemory& memory, cudaStream_t stream);
// The largest score, and where wanted the sum of the weights, of each group of each row.
void look_at_rows(const DeviceRow* rows, int32_t num_rows, const float* logits, int64_t vocab,
                  const SamplerMemory& memory, cudaStream_t stream);
// Draws. results [num_rows] and tops lie in page-locked host memory; memory.drawn is overwritten.
void draw_rows(const DeviceRow* rows, int32_t num_rows, const float* logits, int64_t vocab,
               const SamplerMemory& memory, DrawnRow* results, TokenLogprob* tops, cudaStream_t stream);

}  // namespace qwend::cuda
