// A request that the engine has accepted and not yet ended.
#pragma once
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "engine/output_stream.h"
#include "engine/run/history_bias.h"
#include "engine/run/opening.h"
#include "engine/run/output_processor.h"
#include "engine/run/thinking_budget.h"
#include "engine/schedule/sequence.h"
#include "engine/types.h"

namespace qwend {

// Holds one unit of a counter that other threads read, until released. The counter must outlive it.
class Ticket {
 public:
  Ticket() = default;
  explicit Ticket(std::atomic<int32_t>& counter) : counter_(&counter) { ++counter; }
  Ticket(Ticket&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
  Ticket& operator=(Ticket&& other) noexcept {
    std::swap(counter_, other.counter_);
    return *this;
  }
  ~Ticket() { release(); }
  void release() {
    if (counter_) --*std::exchange(counter_, nullptr);
  }

 private:
  std::atomic<int32_t>* counter_ = nullptr;
};

// Made by the submitting thread, from then on used by the engine thread only. Sequences point into it: it
// never moves.
struct ActiveRequest {
  ActiveRequest(RequestId id_, GenerationRequest params_, uint64_t seed_, const Tokenizer& tokenizer,
                int32_t max_model_len, Clock::time_point now);
  ActiveRequest(const ActiveRequest&) = delete;
  ActiveRequest& operator=(const ActiveRequest&) = delete;

  bool started() const { return started_at != Clock::time_point{}; }
  bool prompt_computed() const { return prompt_done_at != Clock::time_point{}; }
  Timings timings(Clock::time_point now) const;
  void release_tickets() {
    queued.release();
    in_flight.release();
  }

  const RequestId id;
  const GenerationRequest params;
  const uint64_t seed;  // of sequence 0; sequence i draws with seed + i
  const std::shared_ptr<OutputStream> stream;

  std::vector<Sequence> sequences;           // [n]
  std::vector<OutputProcessor> outputs;      // [n]
  int32_t num_unfinished;                    // sequences
  std::vector<TokenOutput> prompt_logprobs;  // filled as the prompt is computed, when asked for
  std::vector<float> hidden;                 // of a pooled request, once its prompt has been launched
  std::vector<HistoryBias> history;          // [n] or empty: not wanted
  std::vector<ThinkingBudget> thinking;      // [n] or empty: no limit
  std::vector<Opening> openings;             // [n] or empty: free
  std::vector<uint64_t> allowed_mask;        // one bit a token; empty: all
  std::vector<int32_t> banned;               // tokens never drawn; empty: those that nobody draws
  std::vector<int32_t> banned_below_min;  // tokens never drawn before min_tokens; empty when min_tokens is 0
  Usage usage;
  Ticket queued, in_flight;  // queued ends with the first step; in_flight with the request

  const Clock::time_point submitted_at;
  Clock::time_point started_at, prompt_done_at, first_token_at;  // zero until then
};

}  // namespace qwend
