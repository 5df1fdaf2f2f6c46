// The kernels of DeviceSampler.
#pragma once
#include <cuda_runtime.h>

#include "kernels/cuda/sampler_select.h"

namespace qwend::cuda {

// Memory of all rows on the device, [rows, groups] each, and where draws go.
struct SamplerMemory {
  uint32_t* keys = nullptr;  // largest score of each group; FirstLook in sampler_draw.h
  float* sums = nullptr;
  uint32_t* raw_keys = nullptr;
  float* raw_sums = nullptr;
  uint32_t* arrivals = nullptr;      // [rows] blocks that have looked; 0 between launches
  unsigned char* scratch = nullptr;  // [rows, scratch_bytes()] for a row that a list does not do for
  int32_t* drawn = nullptr;          // [rows]
  // The same of this step and of the one before, which rows may refer to while others are being drawn.
  int32_t* drawn_now = nullptr;
  const int32_t* drawn_before = nullptr;
  QWEND_ROW_FN void store(int64_t row, const DrawnRow& draw, DrawnRow* results) const {
    results[row] = draw;
    drawn[row] = drawn_now[row] = draw.token;
  }
  static constexpr size_t scratch_bytes(int32_t groups) { return (RowScratch::bytes(groups) + 15) / 16 * 16; }
  QWEND_ROW_FN RowScratch scratch_of(int64_t row, int32_t groups) const {
    return {scratch + static_cast<size_t>(row) * scratch_bytes(groups), groups};
  }
};

// Allows the kernels the shared memory that rows of this width need, on the current device.
void prepare_sampler_kernels(int64_t vocab);

// Scores of the rows edited[0 .. num_edited) that bias and penalties touch, but for those that are built in
// parts by look_at_rows().
void edit_scores(const DeviceRow* rows, const int32_t* edited, int32_t num_edited, const float* logits,
                 int64_t vocab, const SamplerMemory& memory, cudaStream_t stream);
// The largest score, and where wanted the sum of the weights, of each group of each row. Draws the rows that
// need few candidates. results [num_rows] lies in page-locked host memory, as tops below; memory.drawn is
// overwritten.
void look_at_rows(const DeviceRow* rows, int32_t num_rows, const float* logits, int64_t vocab,
                  const SamplerMemory& memory, DrawnRow* results, cudaStream_t stream);
// Draws the rows wide[0 .. num_wide), after look_at_rows().
void draw_rows(const DeviceRow* rows, const int32_t* wide, int32_t num_wide, const float* logits,
               int64_t vocab, const SamplerMemory& memory, DrawnRow* results, TokenLogprob* tops,
               cudaStream_t stream);

}  // namespace qwend::cuda
