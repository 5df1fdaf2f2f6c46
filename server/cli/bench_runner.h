// Runs the model without the engine's scheduling: fixed block tables, one shape at a time.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/model/qwen_model.h"
#include "kernels/backend.h"

namespace qwend::cli {

// One thread. Sequence s owns blocks [s * blocks_per_seq, (s + 1) * blocks_per_seq).
class BenchRunner {
 public:
  BenchRunner(const gguf::File& file, int threads, int max_tokens, int max_seqs, int max_context);

  void reset();  // all contexts empty
  // Appends `tokens_per_seq` random tokens to each of the first `num_seqs` sequences in one step, samples one
  // token of each when `sampling` is true (temperature, top_k, top_p), and only computes the logits
  // otherwise.
  void step(int num_seqs, int tokens_per_seq, bool sampling);
  void prefill(int num_seqs, int tokens);  // in steps of at most max_tokens
  int context() const { return context_; }
  const ModelConfig& config() const { return model_->config(); }
  int max_tokens() const { return max_tokens_; }

 private:
  int max_tokens_, blocks_per_seq_;
  int context_ = 0;  // tokens that every active sequence holds
  uint32_t random_ = 1;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<QwenModel> model_;
  KvCachePtr kv_;
};

}  // namespace qwend::cli
