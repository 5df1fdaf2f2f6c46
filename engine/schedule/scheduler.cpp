#include "engine/schedule/scheduler.h"

#include <algorithm>

#include "kernels/check.h"

namespace qwend {

void Scheduler::add(Sequence& sequence) {
  CHECK(sequence.state == Sequence::State::Held && sequence.block_table.empty());
  sequence.state = Sequence::State::Waiting;
  waiting_.insert(&sequence);
}

void Scheduler::remove(Sequence& sequence) {
  if (sequence.state == Sequence::State::Waiting) waiting_.erase(&sequence);
  if (sequence.state == Sequence::State::Running) std::erase(running_, &sequence);
  if (blocked_ == &sequence) blocked_ = nullptr;
  blocks_.release(sequence);
  sequence.state = Sequence::State::Finished;
}

Schedule Scheduler::schedule() {
  Schedule step;
  schedule_decodes(step);
  schedule_prompts(step);
  if (!step.chunks.empty()) step.block_copies = blocks_.take_copies();
  return step;
}

void Scheduler::schedule_decodes(Schedule& step) {
  for (size_t i = 0; i < running_.size(); ++i) {  // shrinks at its end when sequences are preempted
    Sequence& sequence = *running_[i];
    if (sequence.num_remaining() != 1 || !make_room(sequence, step)) continue;
    step.chunks.push_back({&sequence, sequence.num_computed_tokens, 1});
    ++step.num_tokens;
  }
}

bool Scheduler::make_room(Sequence& sequence, Schedule& step) {
  while (!blocks_.grow(sequence, sequence.num_computed_tokens + 1)) {
    CHECK(running_.size() > 1);  // alone, every admitted sequence fits
    Sequence& last = *running_.back();
    preempt(last);
    ++step.num_preempted;
    if (&last == &sequence) return false;
  }
  return true;
}

void Scheduler::preempt(Sequence& sequence) {
  CHECK(running_.back() == &sequence);
  running_.pop_back();
  blocks_.release(sequence);
  sequence.state = Sequence::State::Waiting;
  waiting_.insert(&sequence);
}

void Scheduler::schedule_prompts(Schedule& step) {
  int32_t logit_rows = config_.prompt_logit_rows;
  for (Sequence* sequence : running_) {
    if (sequence->num_remaining() > 1) schedule_chunk(*sequence, step, logit_rows);
  }
  if (step.num_preempted > 0) return;  // whoever lost its blocks just now would take them again
  while (step.num_tokens < config_.max_batch_tokens && num_running() < config_.max_seqs &&
         !waiting_.empty()) {
    Sequence& first = **waiting_.begin();
    if (!admit(first)) return;  // nobody overtakes: small requests must not starve a large one
    schedule_chunk(first, step, logit_rows);
  }
}

bool Scheduler::admit(Sequence& sequence) {
  CHECK(sequence.num_pending_tokens == 0);  // results come before the step after a preemption is scheduled
  if (blocked_ == &sequence && blocked_at_release_ == blocks_.num_releases()) return false;
  if (recall_ && sequence.wants_prompt_logits) recall_(sequence);
  // The last token is always computed, for its logits; so is every prompt token whose logits are still
  // wanted.
  const int32_t max_cached =
      std::min(sequence.num_tokens() - 1,
               sequence.prompt_logits_missing() ? sequence.num_prompt_logits : sequence.num_tokens());
  if (!blocks_.admit(sequence, max_cached, num_running())) {
    CHECK(num_running() > 0);  // alone, every sequence accepted fits
    blocked_ = &sequence;
    blocked_at_release_ = blocks_.num_releases();
    return false;
  }
  blocked_ = nullptr;
  waiting_.erase(&sequence);
  sequence.state = Sequence::State::Running;
  running_.insert(std::ranges::upper_bound(running_, &sequence, Precedes{}), &sequence);
  return true;
}

// As much of a prompt as the token budget and, where its log-probabilities are wanted, the logit rows allow.
void Scheduler::schedule_chunk(Sequence& sequence, Schedule& step, int32_t& logit_rows) {
  int32_t num_tokens = std::min(sequence.num_remaining(), config_.max_batch_tokens - step.num_tokens);
  if (sequence.prompt_logits_missing()) {
    // Positions first_row .. last_row - 1 take a row each; those before have theirs, those after need none.
    const int32_t first_row = std::max(sequence.num_prompt_logits, sequence.num_computed_tokens);
    const int32_t last_row = sequence.num_prompt_tokens() - 1;
    if (last_row - first_row > logit_rows) {
      num_tokens = std::min(num_tokens, first_row + logit_rows - sequence.num_computed_tokens);
    }
    const int32_t end = std::min(last_row, sequence.num_computed_tokens + num_tokens);
    logit_rows -= std::max(0, end - first_row);
  }
  if (num_tokens == 0) return;
  step.chunks.push_back({&sequence, sequence.num_computed_tokens, num_tokens});
  step.num_tokens += num_tokens;
}

void Scheduler::launched(const ScheduledChunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  CHECK(sequence.state == Sequence::State::Running && sequence.num_computed_tokens == chunk.begin);
  sequence.num_computed_tokens = chunk.end();
  CHECK(sequence.num_computed_tokens <= sequence.num_tokens() + sequence.num_pending_tokens);
  blocks_.seal(sequence);
}

void Scheduler::append(Sequence& sequence, int32_t token) {
  CHECK(sequence.num_pending_tokens > 0);
  --sequence.num_pending_tokens;
  sequence.output.push_back(token);
  blocks_.seal(sequence);
}

std::string Scheduler::check() const {
  for (const Sequence* sequence : waiting_) {
    if (sequence->state != Sequence::State::Waiting) return "a waiting sequence has another state";
    if (!sequence->block_table.empty()) return "a waiting sequence holds blocks";
  }
  for (const Sequence* sequence : running_) {
    if (sequence->state != Sequence::State::Running) return "a running sequence has another state";
    const bool waits = sequence->num_pending_tokens > 0 || sequence->max_output_tokens == 0;
    if (sequence->num_remaining() < (waits ? 0 : 1)) return "a running sequence has nothing to compute";
    if (static_cast<int32_t>(sequence->block_table.size()) <
        blocks_.blocks_for(sequence->num_computed_tokens)) {
      return "a block table is too short";
    }
  }
  if (!std::ranges::is_sorted(running_, Precedes{})) return "running sequences are out of order";
  if (num_running() > config_.max_seqs) return "more sequences run than allowed";
  return {};
}

}  // namespace qwend
