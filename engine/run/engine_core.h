// What happens between two steps: requests come, compute, and end. The engine without its thread.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/run/active_request.h"
#include "engine/run/prompt_logprob_cache.h"
#include "engine/run/step_batch.h"
#include "engine/run/step_executor.h"
#include "engine/schedule/block_manager.h"
#include "engine/schedule/scheduler.h"

namespace qwend {

// One thread at a time (the engine thread). Every request added ends exactly once: its stream gets one delta
// with `last`. Deltas are collected and handed out by publish(), so that whoever sees one finds the stats
// that go with it.
//
// Where the executor allows two steps in flight, step N + 1 is scheduled and launched before step N's results
// are collected, and N's tokens become text while N + 1 runs. An end known in advance (max_tokens, a full
// context) is never overrun. An end found in N's results (stop token, stop string), or from outside meanwhile
// (cancel, deadline), comes too late for N + 1: what that step draws for the sequence is dropped.
class EngineCore {
 public:
  EngineCore(const EngineConfig& config, StepExecutor& executor, const Tokenizer& tokenizer);

  void add(std::unique_ptr<ActiveRequest> request);
  void cancel(RequestId id);           // unknown ids are ignored
  void expire(Clock::time_point now);  // ends the requests whose deadline has passed
  void end_all(FinishReason reason);
  // After the executor has failed: every request ends with the error, what is in flight is forgotten.
  void fail(const std::string& error);
  bool idle() const { return requests_.empty() && in_flight_.empty(); }

  // One turn: launches a step for whoever can be scheduled, then collects and commits those that can't stay
  // in flight. Throws what the executor throws. Precondition: not idle().
  void step();
  // Sends out all deltas since the last call. Never waits for a reader.
  void publish();

  EngineStats stats() const;
  std::string check() const;  // empty when all invariants hold

 private:
  struct Step {  // launched, not yet collected
    Schedule schedule;
    std::vector<StepBatch::Target> targets;  // of its rows
    bool needs_sync;                         // no step may be launched before this one is collected
    Clock::time_point begin;
    // Ended and published while the step was in flight: it still names their sequences.
    std::vector<std::unique_ptr<ActiveRequest>> ended = {};
  };

  void note_bans(ActiveRequest& request);
  bool launch();  // false when there is nothing to schedule
  void note_start(const Schedule& schedule, Clock::time_point now);
  void note_targets(Step& step);
  static bool needs_sync(const Sequence& sequence);
  void read_hidden(const Schedule& schedule);
  void commit_oldest();
  void commit(const Step& step, std::vector<SampledToken> sampled);
  void prompt_computed(ActiveRequest& request);
  void recall_prompt_logprobs(Sequence& sequence);
  void keep_prompt_logprobs(const Sequence& sequence);
  void add_token(Sequence& sequence, SampledToken sampled);
  void end(ActiveRequest& request, FinishReason reason, const std::string& error = {});
  void end_sequence(Sequence& sequence, FinishReason reason);
  void emit(ActiveRequest& request, int32_t index, OutputDelta delta);

  StepExecutor& executor_;
  const Tokenizer& tokenizer_;
  const int32_t vocab_size_;
  const std::vector<int32_t> never_drawn_;
  const bool prefix_cache_;
  const size_t max_in_flight_;
  BlockManager blocks_;
  PromptLogprobCache prompt_logprobs_;
  Scheduler scheduler_;
  StepBatch batch_;
  std::unordered_map<RequestId, std::unique_ptr<ActiveRequest>> requests_;
  std::deque<Step> in_flight_;                         // oldest first; at most max_in_flight_
  std::vector<std::unique_ptr<ActiveRequest>> ended_;  // since the last publish()
  std::vector<std::pair<std::shared_ptr<OutputStream>, OutputDelta>> outbox_;
  Clock::time_point last_collected_;  // when the results of the last step were there
  EngineStats counters_;              // the counting fields only
};

}  // namespace qwend
