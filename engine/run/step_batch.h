// A schedule as the model wants it: the arrays of StepInput and the sampling rows.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/schedule/scheduler.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"

namespace qwend {

// Keeps its buffers from step to step. Engine thread only. What input() and rows() return points into the
// batch and into the sequences: valid until the next build() or until a sequence changes.
// Where a sequence's last token is pending, the step before is the one that draws it: the rows refer to it
// (StepInput::token_rows, SamplingRow::previous_row) and count it as a token.
class StepBatch {
 public:
  // What a logit row is for: the next token of a sequence, or the log-probability of its prompt token
  // position + 1.
  struct Target {
    Sequence* sequence;
    int32_t position;  // of the token whose logits these are
    bool is_prompt_logprob;
  };

  // never_drawn: tokens that no sequence may produce.
  StepBatch(int32_t block_size, std::vector<int32_t> never_drawn)
      : block_size_(block_size), never_drawn_(std::move(never_drawn)) {}

  void build(const Schedule& schedule);
  StepInput input() const;
  std::span<const SamplingRow> rows() const { return rows_; }   // [L]
  std::span<const Target> targets() const { return targets_; }  // [L]

 private:
  void add_tokens(const ScheduledChunk& chunk);
  void add_targets(const ScheduledChunk& chunk);
  // What a row points to beside what belongs to the request.
  struct RowLists {
    std::vector<std::pair<int32_t, float>> bias;
    std::vector<ConditionalBias> after;
    std::vector<uint64_t> mask;
  };
  SamplingRow sampling_row(const Sequence& sequence, RowLists& lists) const;
  SamplingRow forced_row(int32_t token, int32_t num_logprobs, RowLists& lists) const;
  void add_history(const Sequence& sequence, RowLists& lists, SamplingRow& row) const;

  const int32_t block_size_;
  const std::vector<int32_t> never_drawn_;
  std::vector<int32_t> tokens_, token_rows_;       // [T]
  std::vector<int32_t> positions_, slot_mapping_;  // [T]
  bool has_pending_tokens_ = false;                // some token_rows_ are not -1
  std::vector<int32_t> cu_seqlens_;                // [S + 1]
  std::vector<int32_t> context_lens_;              // [S]
  std::vector<int32_t> block_tables_;              // [S, block_table_stride_]
  int32_t block_table_stride_ = 0;
  std::vector<BlockCopy> block_copies_;
  std::vector<int32_t> logit_rows_;  // [L]
  std::vector<Target> targets_;      // [L]
  std::vector<SamplingRow> rows_;    // [L]
  std::vector<RowLists> lists_;      // [>= L]
};

}  // namespace qwend
