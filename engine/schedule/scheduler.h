// Continuous batching: which sequences compute how many tokens in the next step.
#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/schedule/block_manager.h"
#include "engine/schedule/sequence.h"

namespace qwend {

struct SchedulerConfig {
  int32_t max_seqs = 256;          // running at once
  int32_t max_batch_tokens = 512;  // of one step; >= max_seqs, so that every running sequence can decode
  int32_t prompt_logit_rows = 32;  // of one step, for prompt log-probabilities; > 0
};

struct ScheduledChunk {
  Sequence* sequence;
  int32_t begin;  // position of its first token: num_computed_tokens when it was scheduled
  int32_t num_tokens;
  int32_t end() const { return begin + num_tokens; }
};

struct Schedule {
  std::vector<ScheduledChunk> chunks;   // each sequence at most once
  std::vector<BlockCopy> block_copies;  // to be made before the step, in order
  int32_t num_tokens = 0;
  int32_t num_preempted = 0;
};

// Policy.
//   Order      First come, first served; one level of priority is worth kPriorityHandicapUs of waiting, so a
//   low
//              priority waits longer but not for ever. The order of two sequences never changes (see
//              precedes()).
//   Step       Running sequences with one token left (decodes) come first, then running prompts share what is
//   left of
//              the token budget, then waiting sequences are admitted. A long prompt is computed in chunks
//              beside the decodes and never stalls them.
//   Memory     A sequence is admitted when the blocks for all its tokens are there, and one more for each
//   running
//              sequence to grow into. A decode that finds no block preempts the last sequence in order,
//              perhaps itself: that one gives back its blocks and waits to be computed again, mostly from the
//              prefix cache.
//   Progress   The first sequence in order is never preempted for another, and it fits into the empty pool
//              (checked at submission), so it always finishes; then the next one is first.
//
// Pure host logic, no clock. Engine thread only. Sequences are owned by the caller, at fixed addresses, and
// must be removed before they end.
class Scheduler {
 public:
  static constexpr int64_t kPriorityHandicapUs = 10'000'000;  // a level of priority

  // Called for a waiting sequence whose prompt log-probabilities are wanted: may advance num_prompt_logits by
  // those that are known.
  using Recall = std::function<void(Sequence&)>;

  Scheduler(SchedulerConfig config, BlockManager& blocks, Recall recall = {})
      : config_(config), blocks_(blocks), recall_(std::move(recall)) {}

  void add(Sequence& sequence);     // Held -> Waiting
  void remove(Sequence& sequence);  // any state -> Finished; its blocks are given back at once
  // Chunks for one step, blocks allocated. Empty when nothing is waiting or running, or when all that run
  // wait for what a step in flight draws.
  Schedule schedule();
  // Records that the chunk's step is on its way.
  void launched(const ScheduledChunk& chunk);
  // The first pending token of the sequence, running or preempted, is known, and the sequence goes on.
  void append(Sequence& sequence, int32_t token);

  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  std::string check() const;  // empty when states, tables and order are sound

 private:
  struct Precedes {
    bool operator()(const Sequence* a, const Sequence* b) const { return precedes(*a, *b); }
  };

  void schedule_decodes(Schedule& step);
  void schedule_prompts(Schedule& step);
  bool admit(Sequence& sequence);
  bool make_room(Sequence& sequence, Schedule& step);
  void preempt(Sequence& sequence);
  void schedule_chunk(Sequence& sequence, Schedule& step, int32_t& logit_rows);

  const SchedulerConfig config_;
  BlockManager& blocks_;
  const Recall recall_;
  std::set<Sequence*, Precedes> waiting_;
  std::vector<Sequence*> running_;  // in order
  // The sequence for which there was no room, and the state of the pool then: trying again is pointless (and
  // costs a search for its prefix) before some block has been given back.
  const Sequence* blocked_ = nullptr;
  uint64_t blocked_at_release_ = 0;
};

}  // namespace qwend
