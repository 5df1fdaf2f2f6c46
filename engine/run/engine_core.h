// What happens between two steps: requests come, compute, and end. The engine without its thread.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/run/active_request.h"
#include "engine/run/step_batch.h"
#include "engine/run/step_executor.h"
#include "engine/schedule/block_manager.h"
#include "engine/schedule/scheduler.h"

namespace qwend {

// One thread at a time (the engine thread). Every request added ends exactly once: its stream gets one delta
// with `last`. Deltas are collected and handed out by publish(), so that whoever sees one finds the stats
// that go with it.
class EngineCore {
 public:
  EngineCore(const EngineConfig& config, StepExecutor& executor, const Tokenizer& tokenizer);

  void add(std::unique_ptr<ActiveRequest> request);
  void cancel(RequestId id);           // unknown ids are ignored
  void expire(Clock::time_point now);  // ends the requests whose deadline has passed
  void end_all(FinishReason reason, const std::string& error = {});
  bool idle() const { return requests_.empty(); }

  // One turn of the model for whoever is scheduled; throws what the executor throws. Precondition: not
  // idle().
  void step();
  // Sends out all deltas since the last call. Never waits for a reader.
  void publish();

  EngineStats stats() const;
  std::string check() const;  // empty when all invariants hold

 private:
  void note_start(const Schedule& schedule, Clock::time_point now);
  void commit(const Schedule& schedule, std::vector<SampledToken> sampled);
  void prompt_computed(ActiveRequest& request);
  void add_token(Sequence& sequence, SampledToken sampled);
  void end(ActiveRequest& request, FinishReason reason, const std::string& error = {});
  void end_sequence(Sequence& sequence, FinishReason reason);
  void emit(ActiveRequest& request, int32_t index, OutputDelta delta);

  StepExecutor& executor_;
  const Tokenizer& tokenizer_;
  const int32_t vocab_size_;
  const std::vector<int32_t> never_drawn_;
  const bool prefix_cache_;
  BlockManager blocks_;
  Scheduler scheduler_;
  StepBatch batch_;
  std::unordered_map<RequestId, std::unique_ptr<ActiveRequest>> requests_;
  std::vector<std::unique_ptr<ActiveRequest>> ended_;  // kept until publish(): a schedule may still name them
  std::vector<std::pair<std::shared_ptr<OutputStream>, OutputDelta>> outbox_;
  EngineStats counters_;  // the counting fields only
};

}  // namespace qwend
