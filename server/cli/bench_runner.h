// Runs the model without the engine's scheduling: fixed block tables, one shape at a time, and as many steps
// in flight as the backend takes, so that a device never waits for the host.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/device.h"
#include "engine/memory_plan.h"
#include "engine/model/qwen_model.h"
#include "kernels/backend.h"

namespace qwend::cli {

// Sums over the steps of one run, in seconds.
struct StepSplit {
  int64_t steps = 0;
  double wall = 0;
  double busy = 0;  // device, as the backend measures it; 0: it does not
  double gap = 0;
  double host = 0;  // making and launching steps, without waiting for them
};

// One thread. Sequence s owns blocks [s * blocks_per_seq, (s + 1) * blocks_per_seq).
class BenchRunner {
 public:
  struct Limits {
    int32_t threads = 0;     // of the CPU; 0: one a core
    int32_t max_tokens = 0;  // of a step
    int32_t max_seqs = 1;
    int32_t kv_blocks = 0;
    std::optional<KvDType> kv_dtype = {};  // none: default_kv_dtype()
  };
  // Loads the model. Throws LoadError, DeviceError.
  BenchRunner(const gguf::File& file, const Device& device, const Limits& limits);

  // From here on sequences hold up to max_context tokens, and are empty. num_seqs * blocks must be in the
  // pool.
  void start(int num_seqs, int max_context);
  // Back to `context` tokens a sequence; what lies in the cache below stays.
  void rewind(int context) { context_ = context; }
  // `tokens` random tokens for each sequence, in steps of at most max_tokens; logits of the last ones.
  StepSplit prefill(int tokens);
  // The same in one step, and draws a token.
  StepSplit first_token(int tokens);
  // `steps` steps of one token a sequence. Sampling: each token is drawn (temperature, top_k, top_p) from the
  // logits before it; otherwise tokens are random and logits are computed only.
  StepSplit decode(int steps, bool sampling);

  const ModelConfig& config() const { return model_->config(); }
  const KvCacheSpec& kv_spec() const { return kv_->spec(); }
  double load_seconds() const { return load_seconds_; }  // of the weights, from the file to the device
  std::string device_name() const { return backend_->device_name(); }
  static int blocks_for(int context) { return (context + kBlockSize - 1) / kBlockSize; }

 private:
  struct Step {
    int tokens_per_seq = 1;
    bool logits = true;
    bool sampling = false;
    bool feed_drawn = false;  // tokens are those that the step before draws
  };
  template <class MakeStep>
  StepSplit run(int steps, MakeStep&& make_step);
  void launch(const Step& step);
  void collect(StepSplit& split);

  const int max_tokens_;
  int num_seqs_ = 0, blocks_per_seq_ = 0;
  int context_ = 0;  // tokens that every sequence holds, with the steps in flight
  int in_flight_ = 0;
  uint32_t random_ = 1;
  double load_seconds_ = 0;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<QwenModel> model_;
  KvCachePtr kv_;
  std::vector<SampledToken> drawn_;  // by the last step collected
  std::vector<int32_t> tokens_, positions_, slots_, cu_seqlens_, context_lens_, tables_, logit_rows_,
      token_rows_;
};

}  // namespace qwend::cli
