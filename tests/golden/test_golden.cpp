// Teacher-forced comparison with the reference: the golden's own tokens are fed, so that one difference does
// not hide the steps after it. And the same tokens in other company must give the same bits.
#include <algorithm>
#include <cstdio>

#include "engine/model/qwen_model.h"
#include "tests/golden/golden_data.h"
#include "tests/golden/golden_run.h"
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
// Quantised products round their activations and run in integers.
constexpr Mode kFast{"fast", KvDType::F32, CpuProducts::Fast, 3e-2, 1e-2};
// Quantised models as they are served.
constexpr Mode kFastHalfCache{"fast, f16 kv", KvDType::F16, CpuProducts::Fast, 3e-2, 1e-2};

}  // namespace

TEST_CASE("log-probabilities equal the reference", "[golden]") {
  const std::vector<GoldenVariant> variants = load_goldens();
  std::printf("%-20s %-8s %-17s %7s %9s %12s %12s\n", "model", "format", "mode", "cases", "greedy",
              "max error", "mean error");
  for (const GoldenVariant& variant : variants) {
    const gguf::File file = gguf::File::open(variant.path);
    for (const Mode& mode : {kExact, kHalfCache, kFast, kFastHalfCache}) {
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
        all.add(score);
      }
      std::printf("%-20s %-8s %-17s %3d/%-3zu %4d/%-4d %12.2e %12.2e\n", variant.model.c_str(),
                  variant.format.c_str(), mode.name, passed, variant.cases.size(), all.greedy_matches,
                  all.steps, all.largest_error, all.error_sum / all.compared);
    }
  }
}

TEST_CASE("hidden states give the reference's log-probabilities", "[golden][pooling]") {
  for (const GoldenVariant& variant : load_goldens()) {
    if (variant.format != "f16") continue;
    const gguf::File file = gguf::File::open(variant.path);
    ModelHarness::Options options;
    options.products = CpuProducts::Exact;
    ModelHarness harness(file, options);
    for (const GoldenCase& golden : variant.cases) {
      const Score score = score_case(golden, run_hidden(harness, golden));
      INFO(variant.path << ", prompt of " << golden.prompt.size() << ": " << score.largest_error);
      CHECK(score.largest_error <= kExact.max_error);
      CHECK(score.wrong_beyond_margin == 0);
    }
  }
}

TEST_CASE("a token's logits are the same bits in any company", "[golden]") {
  for (const GoldenVariant& variant : load_goldens()) {
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
