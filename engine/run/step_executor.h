// What the engine loop needs from model + backend: run one step, sample. A seam so that the loop, scheduler and block manager
// are tested without a model.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace qwend {

// Engine thread only. A failure is a std::exception; the engine then fails every request and is dead.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  virtual int32_t vocab_size() const = 0;
  // Runs the step; rows[i] draws from the logits of input.logit_rows[i]; one result per row.
  virtual std::vector<SampledToken> run(const StepInput& input, std::span<const SamplingRow> rows) = 0;
  // After run(): raw logits of logit row i of that step (prompt log-probabilities). [V]
  virtual std::vector<float> logits(int32_t row) = 0;
};

class QwenModel;
// Takes over model, backend and KV cache.
std::unique_ptr<StepExecutor> make_model_runner(std::unique_ptr<Backend> backend, std::unique_ptr<QwenModel> model,
                                                KvCachePtr kv);

}  // namespace qwend
