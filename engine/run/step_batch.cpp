#include "engine/run/step_batch.h"

#include <algorithm>

#include "engine/run/active_request.h"

namespace qwend {

void StepBatch::build(const Schedule& schedule) {
  for (auto* v : {&tokens_, &positions_, &slot_mapping_, &cu_seqlens_, &context_lens_, &logit_rows_})
    v->clear();
  targets_.clear();
  rows_.clear();
  cu_seqlens_.push_back(0);
  block_table_stride_ = 0;
  for (const ScheduledChunk& chunk : schedule.chunks) {
    add_targets(chunk);
    add_tokens(chunk);
    block_table_stride_ =
        std::max(block_table_stride_, static_cast<int32_t>(chunk.sequence->block_table.size()));
  }

  block_tables_.assign(schedule.chunks.size() * block_table_stride_, 0);
  for (size_t s = 0; s < schedule.chunks.size(); ++s) {
    std::ranges::copy(schedule.chunks[s].sequence->block_table,
                      block_tables_.begin() + s * block_table_stride_);
  }

  forced_.assign(targets_.size(), {0, 0.0f});  // before the rows, which point into it
  for (size_t row = 0; row < targets_.size(); ++row) {
    const auto& [sequence, position, is_prompt_logprob] = targets_[row];
    if (is_prompt_logprob) {
      forced_[row] = {sequence->prompt[position + 1], 1e30f};
      rows_.push_back(prompt_logprob_row(*sequence, forced_[row]));
    } else {
      rows_.push_back(sampling_row(*sequence));
    }
  }
}

void StepBatch::add_tokens(const ScheduledChunk& chunk) {
  const Sequence& sequence = *chunk.sequence;
  const int32_t end = sequence.num_computed_tokens + chunk.num_tokens;
  for (int32_t position = sequence.num_computed_tokens; position < end; ++position) {
    tokens_.push_back(sequence.token(position));
    positions_.push_back(position);
    slot_mapping_.push_back(sequence.block_table[position / block_size_] * block_size_ +
                            position % block_size_);
  }
  cu_seqlens_.push_back(static_cast<int32_t>(tokens_.size()));
  context_lens_.push_back(end);
}

// Call before add_tokens(): the chunk's first row is the number of tokens so far.
void StepBatch::add_targets(const ScheduledChunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  const int32_t first_row = static_cast<int32_t>(tokens_.size()) - sequence.num_computed_tokens;
  const int32_t end = sequence.num_computed_tokens + chunk.num_tokens;
  const auto add = [&](int32_t position, bool is_prompt_logprob) {
    logit_rows_.push_back(first_row + position);
    targets_.push_back({&sequence, position, is_prompt_logprob});
  };
  if (sequence.prompt_logits_missing()) {
    const int32_t last = std::min(end, sequence.num_prompt_tokens() - 1);
    for (int32_t p = std::max(sequence.num_prompt_logits, sequence.num_computed_tokens); p < last; ++p)
      add(p, true);
  }
  if (end == sequence.num_tokens() && sequence.request->params.stop.max_tokens > 0) add(end - 1, false);
}

SamplingRow StepBatch::sampling_row(const Sequence& sequence) const {
  const ActiveRequest& request = *sequence.request;
  const SamplingParams& params = request.params.sampling;
  const bool repetition = params.repetition_penalty != 1.0f;
  const bool penalties = repetition || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f;
  SamplingRow row;
  row.temperature = params.temperature;
  row.top_k = params.top_k;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.typical_p = params.typical_p;
  row.repetition_penalty = params.repetition_penalty;
  row.presence_penalty = params.presence_penalty;
  row.frequency_penalty = params.frequency_penalty;
  row.seed = request.seed + sequence.index;
  row.position = sequence.num_tokens();
  row.num_logprobs = params.num_logprobs;
  row.logit_bias = params.logit_bias;
  if (repetition) row.prompt_tokens = sequence.prompt;
  if (penalties) row.output_tokens = sequence.output;
  const bool below_min = sequence.num_output_tokens() < request.params.stop.min_tokens;
  row.banned_tokens = below_min ? request.banned_below_min : never_drawn_;
  return row;
}

// The sampler reports the log-probability of what it draws, from the raw logits: a bias that nothing can beat
// makes it draw the prompt's own next token. So prompt log-probabilities never leave the device as whole rows
// of logits.
SamplingRow StepBatch::prompt_logprob_row(const Sequence& sequence,
                                          const std::pair<int32_t, float>& forced) const {
  SamplingRow row;
  row.temperature = 0.0f;
  row.num_logprobs = sequence.request->params.prompt_logprobs;
  row.logit_bias = {&forced, 1};
  return row;
}

StepInput StepBatch::input() const {
  StepInput input;
  input.tokens = tokens_;
  input.positions = positions_;
  input.slot_mapping = slot_mapping_;
  input.cu_seqlens = cu_seqlens_;
  input.context_lens = context_lens_;
  input.block_tables = block_tables_;
  input.block_table_stride = block_table_stride_;
  input.logit_rows = logit_rows_;
  return input;
}

}  // namespace qwend
