// Teacher-forced comparison with the reference: the golden's own tokens are fed, so that one difference does
// not hide the steps after it. And the same tokens in other company must give the same bits.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "engine/model/qwen_model.h"
#include "tests/golden/golden_data.h"
#include "tests/support/catch2.h"
#include "tests/support/model_harness.h"

using namespace qwend;
using namespace qwend::test;

namespace {

// The ways to run a model, and how far log-probabilities may be from the reference. The models are small and
// have random weights: they amplify rounding more than trained ones.
struct Mode {
  const char* name;
  KvDType kv;
  CpuProducts products;
  double max_error, mean_error;  // over all compared log-probabilities of a case
};
// FP32 throughout, up to the order of sums: this checks decoding of the weights and the forward pass.
constexpr Mode kExact{"exact", KvDType::F32, CpuProducts::Exact, 5e-4, 5e-4};
// Keys and values in F16: measured 1.3e-2 at most.
constexpr Mode kHalfCache{"exact, f16 kv", KvDType::F16, CpuProducts::Exact, 3e-2, 1e-2};
// As served: quantised products round their activations and run in integers.
constexpr Mode kFast{"fast", KvDType::F32, CpuProducts::Fast, 3e-2, 1e-2};

using Logits = std::vector<std::vector<float>>;  // [golden steps][V]

// Prompt and golden tokens but the last, whose successor nobody asks for.
Sequence forced(const GoldenCase& golden) {
  Sequence sequence{golden.prompt, 0, {}};
  for (size_t i = 0; i + 1 < golden.steps.size(); ++i) sequence.tokens.push_back(golden.steps[i].token);
  return sequence;
}

// How many of the `count` tokens from `computed` on have logits that are compared.
int32_t wanted(const GoldenCase& golden, int32_t computed, int32_t count) {
  return std::clamp(computed + count - static_cast<int32_t>(golden.prompt.size()) + 1, 0, count);
}

void append(Logits& all, Logits more) {
  for (auto& row : more) all.push_back(std::move(row));
}

// The rest of the sequence in steps of at most `chunk` tokens; prompt and answer may meet in one.
Logits run_chunked(ModelHarness& harness, const GoldenCase& golden, Sequence& sequence, int32_t chunk) {
  Logits all;
  while (sequence.computed < static_cast<int32_t>(sequence.tokens.size())) {
    const int32_t count = std::min(chunk, static_cast<int32_t>(sequence.tokens.size()) - sequence.computed);
    const Work work{&sequence, count, wanted(golden, sequence.computed, count)};
    append(all, harness.step({&work, 1}));
  }
  return all;
}

// Prompt in one step, then token by token.
Logits run_plain(ModelHarness& harness, const GoldenCase& golden, Sequence& sequence) {
  const auto prompt = static_cast<int32_t>(golden.prompt.size());
  const Work work{&sequence, prompt, 1};
  Logits all = harness.step({&work, 1});
  append(all, run_chunked(harness, golden, sequence, 1));
  return all;
}

// All cases at once, each a step later than the one before, at most `budget` tokens a step: prompts in
// chunks beside sequences that decode.
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

// A second sequence that starts on the full blocks of one that has run.
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

double log_sum_exp(const std::vector<float>& row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float x : row) sum += std::exp(static_cast<double>(x) - top);
  return top + std::log(sum);
}

struct Score {
  double largest_error = 0.0, error_sum = 0.0;
  int compared = 0;
  int greedy_matches = 0, steps = 0;
  int wrong_beyond_margin = 0;  // another greedy token although the margin exceeds twice the error
};

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

std::vector<GoldenVariant> goldens_or_notice() {
  std::vector<GoldenVariant> variants = load_goldens();
  if (variants.empty()) WARN("skipped: no reference data at " QWEND_REFERENCE_DATA);
  return variants;
}

}  // namespace

TEST_CASE("log-probabilities equal the reference", "[golden]") {
  const std::vector<GoldenVariant> variants = goldens_or_notice();
  std::printf("%-20s %-8s %-17s %7s %9s %12s %12s\n", "model", "format", "mode", "cases", "greedy",
              "max error", "mean error");
  for (const GoldenVariant& variant : variants) {
    const gguf::File file = gguf::File::open(variant.path);
    for (const Mode& mode : {kExact, kHalfCache, kFast}) {
      if (mode.products == CpuProducts::Fast && variant.format == "f16") continue;  // the same as exact
      ModelHarness::Options options;
      options.kv_dtype = mode.kv;
      options.products = mode.products;
      ModelHarness harness(file, options);
      int passed = 0;
      Score all;
      for (const GoldenCase& golden : variant.cases) {
        Sequence sequence = forced(golden);
        const Score score = score_case(golden, run_plain(harness, golden, sequence));
        const double mean = score.error_sum / score.compared;
        INFO(variant.path << " " << mode.name << ", prompt of " << golden.prompt.size() << ": largest error "
                          << score.largest_error << ", mean " << mean);
        const bool good = score.largest_error <= mode.max_error && mean <= mode.mean_error &&
                          score.wrong_beyond_margin == 0;
        passed += good;
        CHECK(good);
        all.largest_error = std::max(all.largest_error, score.largest_error);
        all.error_sum += score.error_sum;
        all.compared += score.compared;
        all.greedy_matches += score.greedy_matches;
        all.steps += score.steps;
      }
      std::printf("%-20s %-8s %-17s %3d/%-3zu %4d/%-4d %12.2e %12.2e\n", variant.model.c_str(),
                  variant.format.c_str(), mode.name, passed, variant.cases.size(), all.greedy_matches,
                  all.steps, all.largest_error, all.error_sum / all.compared);
    }
  }
}

TEST_CASE("a token's logits are the same bits in any company", "[golden]") {
  for (const GoldenVariant& variant : goldens_or_notice()) {
    INFO(variant.path);
    const gguf::File file = gguf::File::open(variant.path);
    ModelHarness::Options options;
    options.kv_dtype = variant.format == "f16" ? KvDType::F16 : KvDType::F32;
    ModelHarness one_thread(file, [&] {
      auto o = options;
      o.threads = 1;
      return o;
    }());
    ModelHarness three_threads(file, [&] {
      auto o = options;
      o.threads = 3;
      o.block_size = 32;
      return o;
    }());
    std::vector<Logits> plain;
    std::vector<Sequence> ran;
    for (const GoldenCase& golden : variant.cases) {
      ran.push_back(forced(golden));
      plain.push_back(run_plain(one_thread, golden, ran.back()));
    }
    for (const int32_t budget : {40, 300}) {
      INFO("batched, at most " << budget << " tokens a step");
      const std::vector<Logits> batched = run_batched(three_threads, variant.cases, budget);
      for (size_t i = 0; i < plain.size(); ++i) CHECK(same_bits(batched[i], plain[i]));
    }
    for (size_t i = 0; i < variant.cases.size(); ++i) {
      const GoldenCase& golden = variant.cases[i];
      INFO("prompt of " << golden.prompt.size());
      for (const int32_t chunk : {16, 64, 7, 129, 1000}) {
        INFO("chunks of " << chunk);
        Sequence sequence = forced(golden);
        CHECK(same_bits(run_chunked(three_threads, golden, sequence, chunk), plain[i]));
      }
      INFO("on a cached prefix");
      CHECK(same_bits(run_prefix_cached(one_thread, golden, ran[i], options.block_size), plain[i]));
    }
  }
}
