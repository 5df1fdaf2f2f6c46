// Drawing tokens on the device: kernels/sampling.h for all rows of a step at once, and the way back to the
// host.
#pragma once
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/resources.h"
#include "kernels/sampling.h"

namespace qwend::cuda {

// One thread (the engine's). Steps are launched in order and collected in order; up to kMaxInFlight of them
// lie between. Draws equal those of the CPU sampler for the same logits, but where a sum's rounding decides.
// A row's draw does not depend on the other rows, and is the same each time.
//
// One kernel a step where all rows need few candidates (greedy, or top_k up to kMostFew, and no
// log-probabilities), one more for others, one more with long histories (sampler_kernels.cu). Token
// histories of rows with penalties travel to the device whole in each step, 4 bytes a token, beside the
// step's other work.
class DeviceSampler {
 public:
  static constexpr int32_t kMaxInFlight = 2;

  explicit DeviceSampler(int32_t max_rows);
  ~DeviceSampler();
  // Takes the memory that rows of this width (at most 2^19) need: 155 KB of device memory a row of 151,936.
  // Start-up only.
  void reserve(int64_t vocab);

  // logits: [rows.size(), vocab] FP32 on the device; left as they are. Enqueues copies and kernels on the
  // stream; everything rows point to is copied before it returns. Throws CudaError; a row that nothing can be
  // drawn from (no finite logit, an empty mask) is reported by collect() as std::runtime_error, as the CPU
  // sampler does; its entry of drawn() is 0. Lists far beyond the usual (a mask and 1,024 penalised tokens a
  // row) make the buffers grow, which waits for the device.
  void launch(const float* logits, int64_t vocab, std::span<const SamplingRow> rows, cudaStream_t stream);
  // The oldest step launched. Waits for it.
  std::vector<SampledToken> collect();
  // [max_rows] on the device: what row r of the last step launched drew. Fixed address.
  const int32_t* drawn() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend::cuda
