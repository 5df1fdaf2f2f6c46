#include "tests/golden/golden_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "tests/support/catch2.h"

namespace qwend::test {

namespace {

// How many of the `count` tokens from `computed` on have logits that are compared.
int32_t wanted(const GoldenCase& golden, int32_t computed, int32_t count) {
  return std::clamp(computed + count - static_cast<int32_t>(golden.prompt.size()) + 1, 0, count);
}

void append(Logits& all, Logits more) {
  for (auto& row : more) all.push_back(std::move(row));
}

double log_sum_exp(const std::vector<float>& row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float x : row) sum += std::exp(static_cast<double>(x) - top);
  return top + std::log(sum);
}

}  // namespace

Sequence forced(const GoldenCase& golden) {
  Sequence sequence{golden.prompt, 0, {}};
  for (size_t i = 0; i + 1 < golden.steps.size(); ++i) sequence.tokens.push_back(golden.steps[i].token);
  return sequence;
}

Logits run_chunked(ModelHarness& harness, const GoldenCase& golden, Sequence& sequence, int32_t chunk) {
  Logits all;
  while (sequence.computed < static_cast<int32_t>(sequence.tokens.size())) {
    const int32_t count = std::min(chunk, static_cast<int32_t>(sequence.tokens.size()) - sequence.computed);
    const Work work{&sequence, count, wanted(golden, sequence.computed, count)};
    append(all, harness.step({&work, 1}));
  }
  return all;
}

Logits run_plain(ModelHarness& harness, const GoldenCase& golden, Sequence& sequence) {
  const auto prompt = static_cast<int32_t>(golden.prompt.size());
  const Work work{&sequence, prompt, 1};
  Logits all = harness.step({&work, 1});
  append(all, run_chunked(harness, golden, sequence, 1));
  return all;
}

Logits run_hidden(ModelHarness& harness, const GoldenCase& golden) {
  const QwenModel& model = harness.model();
  const auto vocab = static_cast<size_t>(harness.config().vocab);
  const std::vector<float> output =
      harness.backend().read_rows(model.output(), 0, static_cast<int64_t>(vocab));
  Sequence sequence = forced(golden);
  Logits all;
  while (sequence.computed < static_cast<int32_t>(sequence.tokens.size())) {
    const auto count = static_cast<int32_t>(sequence.computed == 0 ? golden.prompt.size() : 1);
    const Work work{&sequence, count, 0};
    harness.step({&work, 1});
    const std::vector<float> hidden = model.hidden(count - 1);
    std::vector<float> logits(vocab);
    for (size_t row = 0; row < vocab; ++row) {
      const float* weights = output.data() + row * hidden.size();
      logits[row] = static_cast<float>(std::inner_product(hidden.begin(), hidden.end(), weights, 0.0,
                                                          std::plus<>(), std::multiplies<double>()));
    }
    all.push_back(std::move(logits));
  }
  return all;
}

std::vector<Logits> run_batched(ModelHarness& harness, const std::vector<GoldenCase>& cases, int32_t budget) {
  std::vector<Sequence> sequences;
  for (const GoldenCase& golden : cases) sequences.push_back(forced(golden));
  std::vector<Logits> all(cases.size());
  for (size_t round = 0;; ++round) {
    std::vector<Work> work;
    std::vector<size_t> owner;
    int32_t left = budget;
    for (size_t i = 0; i < std::min(cases.size(), round + 1); ++i) {
      Sequence& s = sequences[i];
      const int32_t prompt_left = static_cast<int32_t>(cases[i].prompt.size()) - s.computed;
      const bool finished = s.computed == static_cast<int32_t>(s.tokens.size());
      const int32_t count = finished ? 0 : std::min(left, std::max(prompt_left, 1));
      if (count == 0) continue;
      left -= count;
      work.push_back({&s, count, wanted(cases[i], s.computed, count)});
      owner.push_back(i);
    }
    if (work.empty() && round >= cases.size()) return all;
    if (work.empty()) continue;
    const Logits rows = harness.step(work);
    size_t next = 0;
    for (size_t w = 0; w < work.size(); ++w) {
      for (int32_t i = 0; i < work[w].logits; ++i) all[owner[w]].push_back(rows.at(next++));
    }
  }
}

Logits run_prefix_cached(ModelHarness& harness, const GoldenCase& golden, const Sequence& ran,
                         int32_t block_size) {
  Sequence sequence = forced(golden);
  const auto shared = (golden.prompt.size() - 1) / static_cast<size_t>(block_size);
  sequence.blocks.assign(ran.blocks.begin(), ran.blocks.begin() + static_cast<std::ptrdiff_t>(shared));
  sequence.computed = static_cast<int32_t>(shared) * block_size;
  return run_chunked(harness, golden, sequence, 1000);
}

bool same_bits(const Logits& a, const Logits& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    if (std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0) return false;
  }
  return true;
}

Score score_case(const GoldenCase& golden, const Logits& logits) {
  Score score;
  score.steps = static_cast<int>(golden.steps.size());
  REQUIRE(logits.size() == golden.steps.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const double norm = log_sum_exp(logits[i]);
    auto compare = [&](int32_t token, float reference) {
      const double error =
          std::abs(logits[i].at(static_cast<size_t>(token)) - norm - static_cast<double>(reference));
      score.largest_error = std::isnan(error) ? INFINITY : std::max(score.largest_error, error);
      score.error_sum += error;
      ++score.compared;
    };
    compare(golden.steps[i].token, golden.steps[i].logprob);
    for (const auto& [token, logprob] : golden.steps[i].top) compare(token, logprob);
  }
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto best = std::max_element(logits[i].begin(), logits[i].end()) - logits[i].begin();
    const bool match = best == golden.steps[i].token;
    score.greedy_matches += match;
    score.wrong_beyond_margin += !match && golden.steps[i].margin > 2.0 * score.largest_error;
  }
  return score;
}

}  // namespace qwend::test
