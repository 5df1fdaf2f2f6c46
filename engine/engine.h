// The engine's facade: submit, cancel, stats, shutdown. Owns the engine thread.
//
// The life of a request in eight steps:
//   1. submit() checks it (run/validate_request), makes it an ActiveRequest with its OutputStream, and posts
//      it to the Mailbox, on the caller's thread. All that follows happens on the engine thread.
//   2. The loop (Engine::Impl::loop) takes the mail and hands the request to EngineCore, which queues
//      sequence 0.
//   3. The Scheduler admits it when a place and blocks are there. The BlockManager fills its block table:
//      first blocks of a known prefix, then fresh ones.
//   4. Each step the Scheduler gives it some tokens to compute: chunks of the prompt, later one at a time.
//      Without blocks for others to go on, the youngest gives its own back and computes its tokens again
//      later.
//   5. StepBatch turns the schedule into a StepInput and SamplingRows; the StepExecutor launches model and
//      sampler. On a device that computes beside the host, the next step is scheduled and launched now,
//      before this one's results are there: its rows refer to the tokens that this one draws.
//   6. EngineCore collects the results and commits them. Full blocks are sealed for others to share once
//      their tokens are launched and known; when the prompt is computed, the siblings (n > 1) are queued and
//      share it.
//   7. The OutputProcessor turns the sampled token into text and finds the end: stop token, stop string,
//      max_tokens or a full context. cancel(), a deadline or a failure end it anywhere, in the same way. What
//      a step in flight still draws for an ended sequence is dropped.
//   8. publish() hands the deltas to the OutputStreams, after stats() has been brought up to date. The last
//      delta of the last sequence carries usage and timings; blocks are free by then.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/duration_histogram.h"
#include "engine/error.h"
#include "engine/output_stream.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

class StepExecutor;  // engine/run/step_executor.h

struct EngineConfig {
  int32_t max_model_len = 4096;
  int32_t max_seqs = 256;          // running at once
  int32_t max_batch_tokens = 512;  // of a step: decodes first, prompts fill the rest; >= max_seqs
  int32_t prompt_logit_rows = 32;  // of a step, for prompt log-probabilities
  int32_t num_kv_blocks = 1024;    // hold max_model_len tokens, or requests that long are refused
  int32_t block_size = 16;
  int32_t max_queue = 256;  // waiting requests; one more is QueueFull
  bool prefix_cache = true;

  // The most logit rows a step can have: what the backend must hold.
  int32_t max_logit_rows() const { return max_seqs + prompt_logit_rows; }
};

struct SubmitError {
  enum class Kind {
    QueueFull,
    PromptTooLong,  // prompt and one token exceed max_model_len
    NeverFits,      // prompt and max_tokens exceed the KV cache
    Draining,
    Dead,
    Invalid,  // a field out of its range; the API layer should have refused it
  } kind;
  std::string message;
};

// Everything /metrics and health need; a consistent copy made by the engine after each step. Counts sequences
// (n to a request).
struct EngineStats {
  int32_t running = 0, waiting = 0;
  int32_t blocks_total = 0, blocks_used = 0, blocks_cached = 0, blocks_free = 0;
  uint64_t preemptions = 0, steps = 0;
  uint64_t prompt_tokens = 0, generation_tokens = 0;
  uint64_t prefix_queries = 0, prefix_hits = 0;  // in tokens
  uint64_t finished_stop = 0, finished_length = 0, finished_cancelled = 0, finished_error = 0,
           finished_deadline = 0;
  // Requests cancelled, by the phase they were in. Prefill ends when the prompt has been computed.
  uint64_t cancelled_queued = 0, cancelled_prefill = 0, cancelled_decode = 0;
  // A step lasts from its scheduling, or from the end of the step before where it was scheduled ahead, until
  // its results are there: the sum is the time that the device had work.
  DurationHistogram step_seconds;  // counts `steps`
  double last_step_seconds = 0;
  int32_t last_step_tokens = 0;
  double schedule_seconds = 0;  // the host's time so far for scheduling steps and writing down their input
  double commit_seconds = 0;    // and for turning their results into text and ends
};

// All methods are safe from any thread. The engine thread is the only user of scheduler, block manager,
// sequences, model, backend. The destructor cancels what is left and joins.
class Engine {
 public:
  // Throws LoadError naming a setting that can't be used.
  Engine(EngineConfig config, std::unique_ptr<StepExecutor> executor,
         std::shared_ptr<const Tokenizer> tokenizer);
  ~Engine();

  // Checks the request against limits, queues it and returns its stream at once. The n sequences need not fit
  // into the pool together: they run as there is room.
  Result<std::shared_ptr<OutputStream>, SubmitError> submit(GenerationRequest request);
  // Ends a request wherever it is (queued, prefill, decode); its blocks are free within one step. Unknown ids
  // are ignored.
  void cancel(RequestId id);
  EngineStats stats() const;  // as of the last step; never waits for a running one
  const EngineConfig& config() const;
  bool alive() const;                        // false after an executor failure
  std::string failure() const;               // what it said; empty while alive
  Clock::time_point last_heartbeat() const;  // engine loop turned; also advances when idle
  bool idle() const;                         // nothing queued or running
  // Refuses new requests from now on (SubmitError::Draining); those accepted run on.
  void drain();
  // Test hook: runs on the engine thread between steps and checks the invariants of block manager and
  // scheduler (free + used + cached = total, reference counts equal block tables); empty when sound.
  std::string check_invariants();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend
