// Drives a model step by step, without scheduler or sampler: tests decide what goes into
// each step and see the logits.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model/qwen_model.h"
#include "kernels/backend.h"

namespace qwend::test {

// One sequence: its tokens, how many are in the cache, and its KV blocks.
struct Sequence {
  std::vector<int32_t> tokens;
  int32_t computed = 0;
  std::vector<int32_t> blocks;
};

// Computes the next `count` tokens of a sequence; logits of the last `logits` of them are wanted.
struct Work {
  Sequence* sequence = nullptr;
  int32_t count = 0;
  int32_t logits = 0;
};

class ModelHarness {
 public:
  struct Options {
    int32_t max_tokens = 1024, num_blocks = 512, block_size = 16, threads = 0;
    KvDType kv_dtype = KvDType::F32;
    CpuProducts products = CpuProducts::Fast;
    // Makes the backend instead of the CPU's.
    std::function<std::unique_ptr<Backend>(int32_t max_tokens, int32_t max_logit_rows)> make_backend = {};
  };
  ModelHarness(const gguf::File& file, const Options& options);

  const ModelConfig& config() const { return model_->config(); }
  Backend& backend() { return *backend_; }
  const QwenModel& model() const { return *model_; }
  // Runs one step; the wanted logits in order of the work: all of the first sequence's, then the second's.
  // Blocks are handed out in a scattered order, as a used cache would.
  std::vector<std::vector<float>> step(std::span<const Work> work);

 private:
  int32_t take_block();

  Options options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<QwenModel> model_;
  KvCachePtr kv_;
  int32_t blocks_taken_ = 0;
};

}  // namespace qwend::test
