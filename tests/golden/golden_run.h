// Ways to run a golden case, and how far its log-probabilities are from the reference.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/golden/golden_data.h"
#include "tests/support/model_harness.h"

namespace qwend::test {

using Logits = std::vector<std::vector<float>>;  // [golden steps][V]

// Prompt and golden tokens but the last, whose successor nobody asks for.
Sequence forced(const GoldenCase& golden);
// The rest of the sequence in steps of at most `chunk` tokens; prompt and answer may meet in one.
Logits run_chunked(ModelHarness& harness, const GoldenCase& golden, Sequence& sequence, int32_t chunk);
// Prompt in one step, then token by token.
Logits run_plain(ModelHarness& harness, const GoldenCase& golden, Sequence& sequence);
// All cases at once, each a step later than the one before, at most `budget` tokens a step: prompts in
// chunks beside sequences that decode.
std::vector<Logits> run_batched(ModelHarness& harness, const std::vector<GoldenCase>& cases, int32_t budget);
// As run_plain(), but from hidden states: the output matrix times the last token's, in double on the host.
Logits run_hidden(ModelHarness& harness, const GoldenCase& golden);
// A second sequence that starts on the full blocks of one that has run.
Logits run_prefix_cached(ModelHarness& harness, const GoldenCase& golden, const Sequence& ran,
                         int32_t block_size);

bool same_bits(const Logits& a, const Logits& b);

struct Score {
  double largest_error = 0.0, error_sum = 0.0;
  int compared = 0;
  int greedy_matches = 0, steps = 0;
  int wrong_beyond_margin = 0;  // another greedy token although the margin exceeds twice the error

  void add(const Score& other) {
    largest_error = std::max(largest_error, other.largest_error);
    error_sum += other.error_sum;
    compared += other.compared;
    greedy_matches += other.greedy_matches;
    steps += other.steps;
    wrong_beyond_margin += other.wrong_beyond_margin;
  }
};
// Over all log-probabilities that the golden has.
Score score_case(const GoldenCase& golden, const Logits& logits);

}  // namespace qwend::test
