#include "engine/run/step_batch.h"

#include <algorithm>

#include "engine/run/active_request.h"

namespace qwend {

void StepBatch::build(const Schedule& schedule) {
  for (auto* v :
       {&tokens_, &token_rows_, &positions_, &slot_mapping_, &cu_seqlens_, &context_lens_, &logit_rows_})
    v->clear();
  targets_.clear();
  rows_.clear();
  cu_seqlens_.push_back(0);
  block_table_stride_ = 0;
  has_pending_tokens_ = false;
  for (const ScheduledChunk& chunk : schedule.chunks) {
    add_targets(chunk);
    add_tokens(chunk);
    block_table_stride_ =
        std::max(block_table_stride_, static_cast<int32_t>(chunk.sequence->block_table.size()));
  }

  block_copies_ = schedule.block_copies;
  block_tables_.assign(schedule.chunks.size() * block_table_stride_, 0);
  for (size_t s = 0; s < schedule.chunks.size(); ++s) {
    std::ranges::copy(schedule.chunks[s].sequence->block_table,
                      block_tables_.begin() + s * block_table_stride_);
  }

  if (lists_.size() < targets_.size())
    lists_.resize(targets_.size());  // before the rows, which point into it
  for (size_t row = 0; row < targets_.size(); ++row) {
    const auto& [sequence, position, is_prompt_logprob] = targets_[row];
    lists_[row].bias.clear();
    lists_[row].after.clear();
    if (is_prompt_logprob) {
      const int32_t num_logprobs = sequence->request->params.prompt_logprobs;
      rows_.push_back(forced_row(sequence->prompt[position + 1], num_logprobs, lists_[row]));
    } else {
      rows_.push_back(sampling_row(*sequence, lists_[row]));
    }
  }
}

void StepBatch::add_tokens(const ScheduledChunk& chunk) {
  const Sequence& sequence = *chunk.sequence;
  for (int32_t position = chunk.begin; position < chunk.end(); ++position) {
    const bool pending = position >= sequence.num_tokens();
    tokens_.push_back(pending ? 0 : sequence.token(position));
    token_rows_.push_back(pending ? sequence.pending_row : -1);
    has_pending_tokens_ |= pending;
    positions_.push_back(position);
    slot_mapping_.push_back(sequence.block_table[position / block_size_] * block_size_ +
                            position % block_size_);
  }
  cu_seqlens_.push_back(static_cast<int32_t>(tokens_.size()));
  context_lens_.push_back(chunk.end());
}

// Call before add_tokens(): the chunk's first row is the number of tokens so far.
void StepBatch::add_targets(const ScheduledChunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  const int32_t first_row = static_cast<int32_t>(tokens_.size()) - chunk.begin;
  const auto add = [&](int32_t position, bool is_prompt_logprob) {
    logit_rows_.push_back(first_row + position);
    targets_.push_back({&sequence, position, is_prompt_logprob});
  };
  if (sequence.prompt_logits_missing()) {
    const int32_t last = std::min(chunk.end(), sequence.num_prompt_tokens() - 1);
    for (int32_t p = std::max(sequence.num_prompt_logits, chunk.begin); p < last; ++p) add(p, true);
  }
  const bool reaches_end = chunk.end() == sequence.num_tokens() + sequence.num_pending_tokens;
  if (reaches_end && sequence.max_output_tokens > 0) add(chunk.end() - 1, false);
}

SamplingRow StepBatch::sampling_row(const Sequence& sequence, RowLists& lists) const {
  const ActiveRequest& request = *sequence.request;
  const SamplingParams& params = request.params.sampling;
  const int32_t num_pending = sequence.num_pending_tokens;
  if (!request.thinking.empty()) {
    const std::optional<int32_t> forced = request.thinking[sequence.index].forced(num_pending);
    if (forced) return forced_row(*forced, params.num_logprobs, lists);
  }
  const bool repetition = params.repetition_penalty != 1.0f;
  const bool penalties = repetition || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f;
  SamplingRow row;
  row.temperature = params.temperature;
  row.top_k = params.top_k;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.typical_p = params.typical_p;
  row.xtc_probability = params.xtc_probability;
  row.xtc_threshold = params.xtc_threshold;
  row.repetition_penalty = params.repetition_penalty;
  row.presence_penalty = params.presence_penalty;
  row.frequency_penalty = params.frequency_penalty;
  row.seed = request.seed + sequence.index;
  row.position = sequence.num_tokens() + num_pending;
  row.num_logprobs = params.num_logprobs;
  row.logprob_tokens = params.logprob_tokens;
  row.logit_bias = params.logit_bias;
  row.allowed_mask = request.allowed_mask;
  if (repetition) row.prompt_tokens = sequence.prompt;
  if (penalties) {
    row.output_tokens = sequence.output;
    if (num_pending > 0) row.previous_row = sequence.pending_row;
  }
  if (!request.history.empty()) add_history(sequence, lists, row);
  const bool below_min = sequence.num_output_tokens() + num_pending < request.params.stop.min_tokens;
  const std::vector<int32_t>& banned = request.banned.empty() ? never_drawn_ : request.banned;
  row.banned_tokens = below_min ? request.banned_below_min : banned;
  if (!request.openings.empty() && !request.openings[sequence.index].done()) {
    request.openings[sequence.index].allow(lists.mask);
    row.allowed_mask = lists.mask;
    row.banned_tokens = never_drawn_;
  }
  return row;
}

void StepBatch::add_history(const Sequence& sequence, RowLists& lists, SamplingRow& row) const {
  ActiveRequest& request = *sequence.request;
  const bool pending = sequence.num_pending_tokens > 0;
  lists.bias = request.params.sampling.logit_bias;
  request.history[sequence.index].collect(sequence.prompt, sequence.output, pending, lists.bias, lists.after);
  row.logit_bias = lists.bias;
  row.bias_after = lists.after;
  if (pending) row.previous_row = sequence.pending_row;
}

// The sampler reports the log-probability of what it draws, from the raw logits: a bias that nothing can beat
// makes it draw the prompt's own next token. So prompt log-probabilities never leave the device as whole rows
// of logits.
SamplingRow StepBatch::forced_row(int32_t token, int32_t num_logprobs, RowLists& lists) const {
  lists.bias.emplace_back(token, 1e30f);
  SamplingRow row;
  row.temperature = 0.0f;
  row.num_logprobs = num_logprobs;
  row.logit_bias = lists.bias;
  return row;
}

StepInput StepBatch::input() const {
  StepInput input;
  input.tokens = tokens_;
  if (has_pending_tokens_) input.token_rows = token_rows_;
  input.positions = positions_;
  input.slot_mapping = slot_mapping_;
  input.cu_seqlens = cu_seqlens_;
  input.context_lens = context_lens_;
  input.block_tables = block_tables_;
  input.block_table_stride = block_table_stride_;
  input.logit_rows = logit_rows_;
  input.block_copies = block_copies_;
  return input;
}

}  // namespace qwend
