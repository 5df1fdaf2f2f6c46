// The engine's facade: submit, cancel, stats, shutdown. Owns the engine thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/error.h"
#include "engine/output_stream.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

class StepExecutor;  // engine/run/step_executor.h

struct EngineConfig {
  int32_t max_model_len = 4096;
  int32_t max_seqs = 256;           // running at once
  int32_t max_batch_tokens = 512;   // token budget of a step: decodes first, prompts fill the rest
  int32_t num_kv_blocks = 1024;
  int32_t block_size = 16;
  int32_t max_queue = 256;          // waiting requests; one more is QueueFull
  bool prefix_cache = true;
};

struct SubmitError {
  enum class Kind { QueueFull, PromptTooLong, NeverFits, Draining, Dead, Invalid } kind;
  std::string message;
};

// Everything /metrics and health need; a consistent copy made by the engine after each step.
struct EngineStats {
  int32_t running = 0, waiting = 0;
  int32_t blocks_total = 0, blocks_used = 0, blocks_cached = 0, blocks_free = 0;
  uint64_t preemptions = 0, steps = 0;
  uint64_t prompt_tokens = 0, generation_tokens = 0;
  uint64_t prefix_queries = 0, prefix_hits = 0;  // in tokens
  uint64_t finished_stop = 0, finished_length = 0, finished_cancelled = 0, finished_error = 0, finished_deadline = 0;
  double last_step_seconds = 0, step_seconds_sum = 0;
  int32_t last_step_tokens = 0;
};

// All methods are safe from any thread. The engine thread is the only user of scheduler, block manager, sequences, model,
// backend. The destructor cancels what is left and joins.
class Engine {
 public:
  Engine(EngineConfig config, std::unique_ptr<StepExecutor> executor, std::shared_ptr<const Tokenizer> tokenizer);
  ~Engine();

  // Checks the request against limits, queues it and returns its stream at once. n * prompts beyond the pool: NeverFits.
  Result<std::shared_ptr<OutputStream>, SubmitError> submit(GenerationRequest request);
  // Ends a request wherever it is (queued, prefill, decode); its blocks are free within one step. Unknown ids are ignored.
  void cancel(RequestId id);
  EngineStats stats() const;
  const EngineConfig& config() const;
  bool alive() const;                              // false after an executor failure
  Clock::time_point last_heartbeat() const;        // engine loop turned; also advances when idle
  bool idle() const;                               // nothing queued or running
  // Refuses new requests from now on (SubmitError::Draining); those accepted run on.
  void drain();
  // Test hook: runs on the engine thread between steps and checks the invariants of block manager and scheduler
  // (free + used + cached = total, reference counts equal block tables); empty when sound.
  std::string check_invariants();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend
