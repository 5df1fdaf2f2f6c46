// What the engine loop needs from model + backend: launch a step, collect what it has drawn. A seam so that
// the loop, scheduler and block manager are tested without a model.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace qwend {

// Engine thread only. A failure is a std::exception; the engine then fails every request and is dead, and
// steps in flight are never collected.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  virtual int32_t vocab_size() const = 0;
  // Steps that may be launched and not yet collected. 1: launch() computes the step, or collect() does.
  virtual int32_t max_in_flight() const = 0;
  // Whether steps may have block_copies.
  virtual bool copies_blocks() const { return false; }
  // Starts the step; rows[i] draws from the logits of input.logit_rows[i]. Both arguments may change
  // afterwards.
  virtual void launch(const StepInput& input, std::span<const SamplingRow> rows) = 0;
  // Waits for the oldest step not yet collected; one result per row.
  virtual std::vector<SampledToken> collect() = 0;
  // The hidden state [D], after the final norm, of token row t of the step launched last. Waits for the step;
  // call before the next launch.
  virtual std::vector<float> hidden(int32_t t) = 0;
};

class QwenModel;
// Takes over model, backend and KV cache.
std::unique_ptr<StepExecutor> make_model_runner(std::unique_ptr<Backend> backend,
                                                std::unique_ptr<QwenModel> model, KvCachePtr kv);

}  // namespace qwend
