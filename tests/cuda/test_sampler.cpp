// The device sampler against the CPU sampler: the same tokens but where the random number lies at a boundary
// that sums round differently, the same log-probabilities, the same refusals.
#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/cuda/sampler.h"
#include "tests/cuda/cuda_test.h"
#include "tests/support/draw_comparison.h"
#include "tests/support/sampling_cases.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

constexpr int32_t kMaxRows = 288;

struct Tally {
  int same = 0, boundary = 0, different = 0;
  void add(DrawMatch match) {
    (match == DrawMatch::Same ? same : match == DrawMatch::Boundary ? boundary : different)++;
  }
  int all() const { return same + boundary + different; }
};

// Steps of a sampler: rows of cases, their logits side by side on the device.
class DeviceSteps {
 public:
  explicit DeviceSteps(size_t vocab, int32_t max_rows = kMaxRows)
      : vocab_(vocab), sampler_(max_rows), stream_(make_stream()) {
    sampler_.reserve(static_cast<int64_t>(vocab));
  }
  void launch(std::vector<SamplingCase>& cases) {
    std::vector<float> logits;
    logits.reserve(cases.size() * vocab_);
    std::vector<SamplingRow> rows;
    for (SamplingCase& c : cases) {
      c.point();
      rows.push_back(c.row);
      logits.insert(logits.end(), c.logits.begin(), c.logits.end());
    }
    logits_.push_back(to_device(logits));
    sampler_.launch(logits_.back().data(), static_cast<int64_t>(vocab_), rows, stream_.get());
  }
  std::vector<SampledToken> collect() { return sampler_.collect(); }
  std::vector<SampledToken> run(std::vector<SamplingCase>& cases) {
    launch(cases);
    std::vector<SampledToken> tokens = collect();
    logits_.clear();
    return tokens;
  }
  std::vector<int32_t> drawn(size_t count) const {
    std::vector<int32_t> tokens(count);
    CUDA_CHECK(cudaStreamSynchronize(stream_.get()));
    CUDA_CHECK(cudaMemcpy(tokens.data(), sampler_.drawn(), count * sizeof(int32_t), cudaMemcpyDeviceToHost));
    return tokens;
  }

 private:
  size_t vocab_;
  DeviceSampler sampler_;
  Stream stream_;
  std::vector<DeviceBuffer<float>> logits_;
};

// Cases that the CPU sampler does not refuse.
std::vector<SamplingCase> drawable(SamplingCases& source, cpu::Sampler& reference, size_t count,
                                   std::vector<SampledToken>& expected) {
  std::vector<SamplingCase> cases;
  expected.clear();
  while (cases.size() < count) {
    SamplingCase c = source.mixed();
    c.point();
    try {
      expected.push_back(reference.sample(c.logits, c.row));
      cases.push_back(std::move(c));
    } catch (const std::runtime_error&) {
    }
  }
  return cases;
}

void compare(cpu::Sampler& reference, const std::vector<SamplingCase>& cases,
             const std::vector<SampledToken>& expected, const std::vector<SampledToken>& got, Tally& tally) {
  REQUIRE(got.size() == cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const SamplingRow& row = cases[i].row;
    INFO("row " << i << " temperature " << row.temperature << " top_k " << row.top_k << " top_p " << row.top_p
                << " typical_p " << row.typical_p << " min_p " << row.min_p << " bans "
                << row.banned_tokens.size() << " mask " << row.allowed_mask.size() << " bias "
                << row.logit_bias.size() << " xtc " << row.xtc_probability << '/' << row.xtc_threshold
                << " history " << row.output_tokens.size() << " logprobs " << row.num_logprobs);
    REQUIRE(got[i].token >= 0);
    REQUIRE(got[i].token < static_cast<int32_t>(cases[i].logits.size()));
    const DrawMatch match = match_draw(reference, cases[i].logits, row, expected[i].token, got[i].token);
    tally.add(match);
    if (match == DrawMatch::Different) CHECK(got[i].token == expected[i].token);
    if (row.num_logprobs >= 0) CHECK(logprob_difference(cases[i].logits, expected[i], got[i]) == "");
  }
}

}  // namespace

namespace {

// shapes: vocabulary, rows
void check_draws(const std::vector<std::pair<size_t, size_t>>& shapes) {
  Tally tally;
  for (const auto& [vocab, rows] : shapes) {
    SamplingCases source(vocab, static_cast<uint32_t>(vocab) + 1);
    cpu::Sampler reference(static_cast<int64_t>(vocab));
    DeviceSteps device(vocab);
    for (int round = 0; round < (vocab < 10000 ? 4 : 1); ++round) {
      INFO("vocab " << vocab << " round " << round);
      std::vector<SampledToken> expected;
      std::vector<SamplingCase> cases = drawable(source, reference, rows, expected);
      compare(reference, cases, expected, device.run(cases), tally);
    }
  }
  INFO(tally.same << " same, " << tally.boundary << " at a boundary, " << tally.different << " different");
  CHECK(tally.different == 0);
  CHECK(tally.boundary * 200 <= tally.all());
}

}  // namespace

TEST_CASE("the device draws what the CPU draws", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  check_draws({{1, 30},
               {2, 60},
               {40, 288},
               {127, 288},
               {1024, 288},
               {4096, 288},
               {5003, 288},
               {20000, 100},
               {151643, 9},
               {151936, 64}});
}

TEST_CASE("the device draws what the CPU draws, few rows", "[cuda][sampler][sanitize]") {
  NEEDS_CUDA_DEVICE();
  check_draws({{1, 3}, {127, 40}, {20000, 10}});
}

// Rows that the block that looked last draws itself, in grids of every shape, beside rows that take a kernel
// more. Launched again and again: the count of the blocks that have looked must go back to 0.
TEST_CASE("rows of few candidates among others", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  Tally tally;
  for (const auto& [vocab, rows] : std::vector<std::pair<size_t, size_t>>{
           {2000, 5}, {5003, 60}, {33000, 100}, {151643, 7}, {151936, 1}, {151936, 20}, {151936, 100}}) {
    SamplingCases source(vocab, static_cast<uint32_t>(vocab + rows));
    cpu::Sampler reference(static_cast<int64_t>(vocab));
    DeviceSteps device(vocab);
    std::vector<SamplingCase> cases;
    std::vector<SampledToken> expected;
    for (size_t i = 0; cases.size() < rows; ++i) {
      SamplingCase c = source.mixed();
      if (i % 5 != 4) {
        c.row.num_logprobs = -1;
        c.row.top_k = static_cast<int32_t>(source.pick(1, 2, 20, 20, 40, 64));
      }
      c.point();
      try {
        expected.push_back(reference.sample(c.logits, c.row));
      } catch (const std::runtime_error&) {
        continue;
      }
      cases.push_back(std::move(c));
    }
    INFO("vocab " << vocab << " rows " << rows);
    const std::vector<SampledToken> first = device.run(cases);
    compare(reference, cases, expected, first, tally);
    for (int again = 0; again < 3; ++again) {
      const std::vector<SampledToken> tokens = device.run(cases);
      for (size_t i = 0; i < rows; ++i) CHECK(tokens[i].token == first[i].token);
    }
  }
  CHECK(tally.different == 0);
  CHECK(tally.boundary * 200 <= tally.all());
}

TEST_CASE("few candidates: one alone, ties, masks, not numbers", "[cuda][sampler][sanitize]") {
  NEEDS_CUDA_DEVICE();
  constexpr size_t kVocab = 60000;
  const float inf = std::numeric_limits<float>::infinity();
  SamplingCases source(kVocab, 4);
  cpu::Sampler reference(kVocab);
  DeviceSteps device(kVocab, 64);
  std::vector<SamplingCase> cases;
  for (const float temperature : {0.0f, 0.01f, 0.7f}) {
    for (const int32_t top_k : {1, 2, 20, 64}) {
      const auto add = [&](float everywhere, auto change) {
        SamplingCase c = source.plain();
        c.logits.assign(kVocab, everywhere);
        c.row.temperature = temperature;
        c.row.top_k = top_k;
        c.row.top_p = 0.8f;
        change(c);
        cases.push_back(std::move(c));
      };
      add(-inf, [](SamplingCase& c) { c.logits[43210] = -3.0f; });
      add(std::nanf(""), [](SamplingCase& c) {
        for (size_t t = 7; t < kVocab; t += 6001) c.logits[t] = static_cast<float>(t % 3);
      });
      add(-1.0f, [](SamplingCase& c) {  // 400 largest: a list
        for (size_t t = 5; t < kVocab; t += 150) c.logits[t] = 2.0f;
      });
      add(0.5f, [](SamplingCase&) {});  // all tie: more than a list
      add(0.5f, [](SamplingCase& c) {
        c.mask.assign((kVocab + 63) / 64, 0);
        c.mask[100] = 0b1011;
        c.banned = {6401};
      });
    }
  }
  std::vector<SampledToken> expected;
  for (SamplingCase& c : cases) {
    c.point();
    expected.push_back(reference.sample(c.logits, c.row));
  }
  Tally tally;
  compare(reference, cases, expected, device.run(cases), tally);
  CHECK(tally.boundary + tally.different == 0);
}

TEST_CASE("many steps of few candidates", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  constexpr size_t kVocab = 151936;
  SamplingCases source(kVocab, 21);
  cpu::Sampler reference(kVocab);
  DeviceSteps device(kVocab);
  Tally tally;
  for (const size_t rows : {size_t{1}, size_t{9}}) {
    std::vector<SamplingCase> cases;
    for (size_t i = 0; i < rows; ++i) {
      cases.push_back(source.plain());
      cases.back().row.temperature = 0.7f, cases.back().row.top_k = 20, cases.back().row.top_p = 0.8f;
    }
    for (int64_t step = 0; step < 100; ++step) {
      std::vector<SampledToken> expected;
      for (SamplingCase& c : cases) {
        c.row.position = step;
        c.point();
        expected.push_back(reference.sample(c.logits, c.row));
      }
      compare(reference, cases, expected, device.run(cases), tally);
    }
  }
  CHECK(tally.different == 0);
}

TEST_CASE("one row alone draws what it draws among others", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  SamplingCases source(151936, 77);
  cpu::Sampler reference(151936);
  DeviceSteps device(151936);
  std::vector<SampledToken> expected;
  std::vector<SamplingCase> cases = drawable(source, reference, 24, expected);
  const std::vector<SampledToken> together = device.run(cases);
  for (size_t i = 0; i < cases.size(); ++i) {
    std::vector<SamplingCase> alone(1);
    alone[0] = cases[i];
    const std::vector<SampledToken> got = device.run(alone);
    CHECK(got[0].token == together[i].token);
    CHECK(got[0].logprob == together[i].logprob);
  }
}

TEST_CASE("the device follows one distribution over many positions", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  Tally tally;
  constexpr size_t kVocab = 4000;
  SamplingCases source(kVocab, 31);
  cpu::Sampler reference(kVocab);
  DeviceSteps device(kVocab);
  for (int round = 0; round < 12; ++round) {
    std::vector<SampledToken> expected;
    const SamplingCase base = std::move(drawable(source, reference, 1, expected)[0]);
    std::vector<SamplingCase> cases(200, base);
    expected.clear();
    for (size_t i = 0; i < cases.size(); ++i) {
      cases[i].row.position = static_cast<int64_t>(i);
      cases[i].point();
      expected.push_back(reference.sample(cases[i].logits, cases[i].row));
    }
    compare(reference, cases, expected, device.run(cases), tally);
  }
  CHECK(tally.different == 0);
  CHECK(tally.boundary * 200 <= tally.all());
}

namespace {

// Rows of the second step are drawn while others still read what the first drew.
void check_two_steps(size_t vocab) {
  constexpr size_t kRows = 120;
  SamplingCases source(vocab, 12);
  cpu::Sampler reference(static_cast<int64_t>(vocab));
  DeviceSteps device(vocab);
  std::vector<SamplingCase> first, second;
  for (size_t i = 0; i < kRows; ++i) {
    first.push_back(source.plain());
    first.back().row.temperature = i % 3 == 0 ? 0.0f : 1.0f;
  }
  for (size_t i = 0; i < kRows; ++i) {
    second.push_back(source.plain());
    source.add_penalties(second.back());
    if (i % 10 == 0) second.back().output.resize(10000, 7);  // more than blocks go through part by part
    second.back().row.presence_penalty = 3.0f;
    second.back().row.temperature = i % 2 == 0 ? 0.0f : 0.5f;
    const size_t before = (i * 7 + 3) % kRows;  // not the row of the same index
    second.back().row.previous_row = static_cast<int32_t>(before);
    second.back().logits = first[before].logits;  // likely to draw the penalised token again
    first[before].point();
    // Greedy rows are sure to meet the condition; of the others, some.
    source.add_bias_after(second.back(), reference.sample(first[before].logits, first[before].row).token);
  }
  Tally tally;
  for (int round = 0; round < 3; ++round) {
    device.launch(first);
    device.launch(second);
    const std::vector<SampledToken> a = device.collect();
    const std::vector<SampledToken> b = device.collect();
    std::vector<SampledToken> expected;
    std::vector<SamplingCase> seen = second;
    for (size_t i = 0; i < kRows; ++i) {
      const int32_t previous = a[static_cast<size_t>(second[i].row.previous_row)].token;
      seen[i].output.push_back(previous);
      seen[i].row.previous_row = -1;
      for (const ConditionalBias& entry : seen[i].after)
        if (entry.previous == previous) seen[i].bias.emplace_back(entry.token, entry.bias);
      seen[i].after.clear();
      seen[i].point();
      expected.push_back(reference.sample(seen[i].logits, seen[i].row));
    }
    compare(reference, seen, expected, b, tally);
    const std::vector<int32_t> drawn = device.drawn(kRows);
    for (size_t i = 0; i < kRows; ++i) CHECK(drawn[i] == b[i].token);
  }
  CHECK(tally.different == 0);
}

}  // namespace

TEST_CASE("two steps in flight: a step penalises what the one before drew", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  check_two_steps(1000);
  check_two_steps(20000);
}

TEST_CASE("each step in flight keeps its own rows", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  constexpr size_t kVocab = 5003;
  SamplingCases source(kVocab, 3);
  cpu::Sampler reference(kVocab);
  DeviceSteps device(kVocab);
  Tally tally;
  std::vector<std::vector<SamplingCase>> steps;
  std::vector<std::vector<SampledToken>> expected(20);
  for (size_t s = 0; s < expected.size(); ++s) {
    steps.push_back(drawable(source, reference, s % 5 == 3 ? 0 : 1 + s * 3, expected[s]));
  }
  for (size_t s = 0; s < steps.size(); ++s) {
    device.launch(steps[s]);
    if (s > 0) compare(reference, steps[s - 1], expected[s - 1], device.collect(), tally);
  }
  compare(reference, steps.back(), expected.back(), device.collect(), tally);
  CHECK(tally.different == 0);
}

TEST_CASE("what is not finite, bans and masks that leave nothing, on the device", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  cpu::Sampler reference(700);
  DeviceSteps device(700);
  Tally tally;
  int refused = 0;
  std::vector<SamplingCase> edges = edge_cases();
  for (SamplingCase& without : edge_cases()) {  // few candidates do for some of these
    without.row.num_logprobs = -1;
    edges.push_back(std::move(without));
  }
  for (const SamplingCase& edge : edges) {
    std::vector<SamplingCase> cases(1, edge);
    cases[0].point();
    std::vector<SampledToken> expected;
    try {
      expected.push_back(reference.sample(cases[0].logits, cases[0].row));
    } catch (const std::runtime_error&) {
      CHECK_THROWS_AS(device.run(cases), std::runtime_error);
      ++refused;
      continue;
    }
    compare(reference, cases, expected, device.run(cases), tally);  // a refusal is of its step alone
  }
  CHECK(refused == 24);
  CHECK(tally.same > 40);
  CHECK(tally.boundary + tally.different == 0);
}

TEST_CASE("long lists make the staging grow", "[cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  constexpr size_t kVocab = 1024;
  DeviceSteps device(kVocab, 4);
  SamplingCases source(kVocab, 2);
  cpu::Sampler reference(kVocab);
  Tally tally;
  for (const size_t length : {size_t{10}, size_t{40000}, size_t{10}}) {
    std::vector<SamplingCase> cases;
    std::vector<SampledToken> expected;
    for (int i = 0; i < 4; ++i) {
      cases.push_back(source.plain());
      for (size_t t = 0; t < length; ++t) cases.back().prompt.push_back(source.id());
      cases.back().row.repetition_penalty = 1.2f;
      cases.back().row.num_logprobs = 1000;
      cases.back().point();
      expected.push_back(reference.sample(cases.back().logits, cases.back().row));
    }
    compare(reference, cases, expected, device.run(cases), tally);
  }
  CHECK(tally.different == 0);
}

// Microseconds a step of kernels and copies, by events around 200 of them.
TEST_CASE("speed of sampling", "[.speed][cuda][sampler]") {
  NEEDS_CUDA_DEVICE();
  constexpr size_t kVocab = 151936;
  const std::vector<float> logits = to_host(to_device(normal_values(kMaxRows * kVocab, 1, 2.5f)));
  const auto device_logits = to_device(logits);
  DeviceSampler sampler(kMaxRows);
  sampler.reserve(kVocab);
  const Stream stream = make_stream();
  std::vector<int32_t> padding(271), history(1000);
  std::iota(padding.begin(), padding.end(), 151665);
  std::iota(history.begin(), history.end(), 100);
  struct Kind {
    const char* name;
    SamplingRow row;
  };
  std::vector<Kind> kinds(9);
  kinds[0].name = "greedy";
  kinds[0].row.temperature = 0.0f;
  kinds[1].name = "top_k 20, top_p 0.8";
  kinds[1].row.top_k = 20, kinds[1].row.top_p = 0.8f, kinds[1].row.temperature = 0.7f;
  kinds[2].name = "temperature 1";
  kinds[3].name = "top_p 0.95";
  kinds[3].row.top_p = 0.95f;
  kinds[4].name = "min_p 0.05";
  kinds[4].row.min_p = 0.05f;
  kinds[5].name = "top_k 20, 20 logprobs";
  kinds[5].row.top_k = 20, kinds[5].row.num_logprobs = 20;
  kinds[6].name = "top_k 20, 1,000 tokens penalised";
  kinds[6].row.top_k = 20, kinds[6].row.repetition_penalty = 1.1f, kinds[6].row.prompt_tokens = history;
  kinds[7].name = "top_k 20, XTC";
  kinds[7].row.top_k = 20, kinds[7].row.xtc_probability = 1.0f;
  kinds[8].name = "XTC alone";
  kinds[8].row.xtc_probability = 1.0f;
  for (Kind& kind : kinds) {
    kind.row.banned_tokens = padding;
    for (const size_t rows : {size_t{1}, size_t{8}, size_t{64}, size_t{256}}) {
      const std::vector<SamplingRow> step(rows, kind.row);
      const Event begin = make_event(true), end = make_event(true);
      constexpr int kSteps = 200;
      for (int i = -20; i < kSteps; ++i) {
        if (i == 0) CUDA_CHECK(cudaEventRecord(begin.get(), stream.get()));
        sampler.launch(device_logits.data(), kVocab, step, stream.get());
        if (i > -20) sampler.collect();
      }
      CUDA_CHECK(cudaEventRecord(end.get(), stream.get()));
      sampler.collect();
      CUDA_CHECK(cudaEventSynchronize(end.get()));
      float ms = 0.0f;
      CUDA_CHECK(cudaEventElapsedTime(&ms, begin.get(), end.get()));
      std::printf("%-34s %3zu rows  %7.1f us a step\n", kind.name, rows, 1000.0 * ms / kSteps);
    }
  }
}
