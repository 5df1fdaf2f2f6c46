// The device sampler's algorithms, run by a block of one thread, against the CPU sampler.
#include <map>
#include <memory>

#include "kernels/cuda/sampler_draw.h"
#include "kernels/cuda/sampler_edits.h"
#include "kernels/cuda/sampler_few.h"
#include "kernels/cuda/sampler_staging.h"
#include "tests/support/catch2.h"
#include "tests/support/draw_comparison.h"
#include "tests/support/sampling_cases.h"
#include "tests/support/serial_block.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

// What DeviceSampler does, on the host.
class HostSampler {
 public:
  enum class Way : uint8_t { Few, Wide };  // draw_from_few(), RowSampler

  explicit HostSampler(size_t vocab)
      : vocab_(static_cast<int32_t>(vocab)),
        groups_((vocab_ + kGroup - 1) / kGroup),
        staging_(vocab_),
        memory_((RowScratch::bytes(groups_) + 7) / 8),
        bits_(words()),
        ranks_(static_cast<size_t>(groups_)) {}

  // drawn: what the step before drew. Throws as collect() does. Way::Wide: not from few candidates, even
  // where they would do.
  SampledToken sample(std::span<const float> logits, const SamplingRow& row,
                      std::span<const int32_t> drawn = {}, Way way = Way::Few) {
    staging_.plan({&row, 1});
    arena_.assign(staging_.device_bytes() / 8 + 1, 0xabababababababab);
    auto* arena = reinterpret_cast<std::byte*>(arena_.data());
    staging_.write({&row, 1}, arena, arena, bits_.data(), ranks_.data());
    const auto& device_row = *reinterpret_cast<const DeviceRow*>(arena);
    SerialBlock block;
    if (device_row.edits.bits != nullptr) {
      CHECK(device_row.edits.in_parts == (staging_.num_edited() == 0));
      std::vector<uint32_t> shared_bits(words());
      std::vector<int32_t> shared_ranks(static_cast<size_t>(groups_));
      const int32_t part = device_row.edits.in_parts ? 16 : groups_;
      for (int32_t first = (groups_ - 1) / part * part; first >= 0; first -= part) {  // in any order
        build_edits(block, device_row.edits, logits.data(), first, std::min(part, groups_ - first),
                    drawn.data(), shared_bits.data(), shared_ranks.data());
      }
    }
    Look edited = look(edited_view(logits.data(), vocab_, device_row), device_row.scale);
    Look raw = look(raw_view(logits.data(), vocab_), 1.0f);
    if (!device_row.needs_sums()) edited.sums.assign(edited.sums.size(), std::nanf(""));
    std::vector<TokenLogprob> tops(staging_.num_tops());
    RowTask task{
        device_row, {edited.keys.data(), edited.sums.data(), raw.keys.data(), raw.sums.data()}, {}, {}, {}};
    task.set_views(logits.data(), vocab_);
    last_way_ = Way::Few;
    if (device_row.few && way == Way::Few) {
      FewScratch scratch;
      const int32_t token = draw_from_few(block, scratch, task.edited, edited.keys.data(), device_row);
      if (token >= 0) return sampled_token(device_row, {.token = token}, tops.data());
    }
    last_way_ = Way::Wide;
    RowSampler<SerialBlock> sampler(block, task, {reinterpret_cast<unsigned char*>(memory_.data()), groups_});
    return sampled_token(device_row, sampler.draw(tops.data()), tops.data());
  }
  Way last_way() const { return last_way_; }

 private:
  struct Look {
    std::vector<uint32_t> keys;
    std::vector<float> sums;
  };
  size_t words() const { return static_cast<size_t>(groups_) * kGroupWords; }

  static Look look(const ScoreView& view, float scale) {
    const auto groups = static_cast<size_t>(view.groups());
    Look found{std::vector<uint32_t>(groups), std::vector<float>(groups)};
    SerialBlock().group_keys(view, found.keys.data());
    for (int32_t token = 0; token < view.vocab; ++token) {
      const auto g = static_cast<size_t>(token / kGroup);
      const float score = score_of(view, token);
      if (score > lowest_score()) found.sums[g] += std::exp((score - key_score(found.keys[g])) * scale);
    }
    return found;
  }

  int32_t vocab_, groups_;
  StepStaging staging_;
  std::vector<uint64_t> arena_, memory_;
  std::vector<uint32_t> bits_;
  std::vector<int32_t> ranks_;
  Way last_way_ = Way::Wide;
};

struct Tally {
  int same = 0, boundary = 0, different = 0;
};

void compare(cpu::Sampler& reference, HostSampler& device, SamplingCase& c, Tally& tally) {
  c.point();
  INFO("temperature " << c.row.temperature << " top_k " << c.row.top_k << " top_p " << c.row.top_p
                      << " typical_p " << c.row.typical_p << " min_p " << c.row.min_p << " bans "
                      << c.banned.size() << " mask " << c.mask.size() << " bias " << c.bias.size()
                      << " history " << c.output.size() << " logprobs " << c.row.num_logprobs << " seed "
                      << c.row.seed << " position " << c.row.position);
  SampledToken expected, got;
  bool fails = false;
  try {
    expected = reference.sample(c.logits, c.row);
  } catch (const std::runtime_error&) {
    fails = true;
  }
  if (fails) {
    CHECK_THROWS_AS(device.sample(c.logits, c.row), std::runtime_error);
    return;
  }
  got = device.sample(c.logits, c.row);
  const DrawMatch match = match_draw(reference, c.logits, c.row, expected.token, got.token);
  INFO("expected " << expected.token << " got " << got.token);
  if (match == DrawMatch::Different) CHECK(expected.token == got.token);
  (match == DrawMatch::Same ? tally.same : match == DrawMatch::Boundary ? tally.boundary : tally.different)++;
  if (c.row.num_logprobs >= 0) CHECK(logprob_difference(c.logits, expected, got) == "");
}

}  // namespace

TEST_CASE("keys order scores as floats do", "[kernels][device_sampler]") {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> rising{-inf, -3e38f, -2.0f, -1e-40f, 0.0f, 1e-40f, 0.5f, 3.4e38f};
  for (size_t i = 0; i + 1 < rising.size(); ++i) CHECK(score_key(rising[i]) < score_key(rising[i + 1]));
  for (const float x : rising) CHECK(key_score(score_key(x)) == x);
  CHECK(score_key(-0.0f) == score_key(0.0f));
  CHECK(score_key(-inf) == kNeverKey);
}

TEST_CASE("bins of distances cover all of them in order", "[kernels][device_sampler]") {
  CHECK(distance_bin(UINT32_MAX) == kDistanceBins - 1);
  CHECK(bin_end(kDistanceBins - 1) == UINT32_MAX);
  for (int32_t bin = 0; bin + 1 < kDistanceBins; ++bin) {
    CHECK(distance_bin(bin_end(bin)) == bin);
    CHECK(distance_bin(bin_end(bin) + 1) == bin + 1);
  }
}

TEST_CASE("a block draws what the CPU sampler draws", "[kernels][device_sampler]") {
  Tally tally;
  for (const auto& [vocab, rows] : std::vector<std::pair<size_t, int>>{
           {1, 40}, {2, 40}, {40, 400}, {127, 300}, {1024, 400}, {5003, 400}, {20000, 150}, {151936, 40}}) {
    INFO("vocab " << vocab);
    SamplingCases cases(vocab, static_cast<uint32_t>(vocab));
    cpu::Sampler reference(static_cast<int64_t>(vocab));
    HostSampler device(vocab);
    for (int i = 0; i < rows; ++i) {
      SamplingCase c = cases.mixed();
      INFO("case " << i);
      compare(reference, device, c, tally);
    }
  }
  INFO(tally.same << " same, " << tally.boundary << " at a boundary, " << tally.different << " different");
  CHECK(tally.different == 0);
  CHECK(tally.boundary <= 3);
}

TEST_CASE("a block draws from the same distribution over many positions", "[kernels][device_sampler]") {
  Tally tally;
  SamplingCases cases(3000, 5);
  cpu::Sampler reference(3000);
  HostSampler device(3000);
  for (int i = 0; i < 40; ++i) {
    SamplingCase c = cases.mixed();
    c.row.num_logprobs = -1;
    for (c.row.position = 0; c.row.position < 25; ++c.row.position) compare(reference, device, c, tally);
  }
  INFO(tally.same << " same, " << tally.boundary << " at a boundary, " << tally.different << " different");
  CHECK(tally.different == 0);
  CHECK(tally.boundary <= 2);
}

TEST_CASE("a block meets edge cases as the CPU sampler does", "[kernels][device_sampler]") {
  Tally tally;
  cpu::Sampler reference(700);
  HostSampler device(700);
  for (const int32_t num_logprobs : {3, -1}) {
    for (SamplingCase& c : edge_cases()) {
      c.row.num_logprobs = num_logprobs;
      for (c.row.position = 0; c.row.position < 10; ++c.row.position) compare(reference, device, c, tally);
    }
  }
  CHECK(tally.same > 400);
  CHECK(tally.boundary + tally.different == 0);
}

TEST_CASE("few candidates are drawn from as many are", "[kernels][device_sampler]") {
  for (const size_t vocab : {2000, 20000, 151936}) {
    SamplingCases cases(vocab, 3);
    HostSampler device(vocab);
    int few = 0, rows = 0;
    for (int i = 0; i < (vocab > 100000 ? 60 : 300); ++i) {
      SamplingCase c = cases.mixed();
      c.row.num_logprobs = -1;
      c.row.top_k = static_cast<int32_t>(cases.pick(1, 2, 20, 20, 40, 64));
      c.point();
      INFO("vocab " << vocab << " case " << i << " top_k " << c.row.top_k);
      SampledToken expected;
      try {
        expected = device.sample(c.logits, c.row, {}, HostSampler::Way::Wide);
      } catch (const std::runtime_error&) {
        CHECK_THROWS_AS(device.sample(c.logits, c.row), std::runtime_error);
        continue;
      }
      CHECK(device.sample(c.logits, c.row).token == expected.token);
      few += device.last_way() == HostSampler::Way::Few;
      ++rows;
    }
    // A sixth of the logits tie so much that a list does not do; 2,000 tokens have 16 groups for up to 64.
    INFO(few << " of " << rows);
    CHECK(few * 2 > rows);
  }
}

TEST_CASE("which rows need few candidates, and what those get that do not have them",
          "[kernels][device_sampler]") {
  constexpr size_t kVocab = 60000;
  using Way = HostSampler::Way;
  HostSampler device(kVocab);
  cpu::Sampler reference(kVocab);
  SamplingCases cases(kVocab, 8);
  const auto way_of = [&](SamplingCase& c) {
    c.point();
    CHECK(device.sample(c.logits, c.row).token == reference.sample(c.logits, c.row).token);
    return device.last_way();
  };
  const auto rising = [&] {
    SamplingCase c = cases.plain();
    for (size_t t = 0; t < kVocab; ++t) c.logits[t] = static_cast<float>(t * 2654435761u % kVocab) * 1e-3f;
    return c;
  };
  for (const auto& [top_k, way] : {std::pair{1, Way::Few},
                                   {2, Way::Few},
                                   {20, Way::Few},
                                   {64, Way::Few},
                                   {65, Way::Wide},
                                   {0, Way::Wide}}) {
    SamplingCase c = rising();
    c.row.top_k = top_k;
    INFO("top_k " << top_k);
    CHECK(way_of(c) == way);
    c.row.temperature = 0.0f;
    CHECK(way_of(c) == Way::Few);
    c.row.num_logprobs = 0;
    CHECK(way_of(c) == Way::Wide);
  }
  const float inf = std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0f, 0.7f}) {
    const auto row = [&](float everywhere) {
      SamplingCase c = cases.plain();
      c.logits.assign(kVocab, everywhere);
      c.row.temperature = temperature;
      c.row.top_k = 20;
      c.row.top_p = 0.8f;
      return c;
    };
    SamplingCase one = row(-inf);
    one.logits[43210] = -3.0f;
    CHECK(way_of(one) == Way::Few);
    SamplingCase numbers = row(std::nanf(""));
    for (size_t t = 7; t < kVocab; t += 6001) numbers.logits[t] = static_cast<float>(t % 3);
    CHECK(way_of(numbers) == Way::Few);
    SamplingCase ties = row(-1.0f);  // 400 largest: more than top_k, fewer than a list takes
    for (size_t t = 5; t < kVocab; t += 150) ties.logits[t] = 2.0f;
    CHECK(way_of(ties) == Way::Few);
    SamplingCase equal = row(0.5f);
    CHECK(way_of(equal) == Way::Wide);
    SamplingCase masked = row(0.5f);
    masked.mask.assign((kVocab + 63) / 64, 0);
    masked.mask[100] = 0b1011;
    masked.banned = {6401};
    CHECK(way_of(masked) == Way::Few);
    SamplingCase banned = row(0.5f);  // nothing is left: bans give way
    for (size_t t = 0; t < kVocab; ++t) banned.banned.push_back(static_cast<int32_t>(t));
    CHECK(way_of(banned) == Way::Wide);
  }
}

TEST_CASE("the token that the step before drew joins the output", "[kernels][device_sampler]") {
  SamplingCases cases(1000, 9);
  HostSampler device(1000);
  cpu::Sampler reference(1000);
  for (int i = 0; i < 50; ++i) {
    SamplingCase c = cases.plain();
    cases.add_penalties(c);
    c.row.presence_penalty = 2.0f;
    c.row.temperature = i % 2 == 0 ? 0.0f : 1.0f;
    c.point();
    const std::vector<int32_t> drawn{3, cases.id(), 7};
    SamplingCase seen = c;
    seen.output.push_back(drawn[1]);
    seen.point();
    c.row.previous_row = 1;
    CHECK(device.sample(c.logits, c.row, drawn).token == reference.sample(seen.logits, seen.row).token);
  }
}

TEST_CASE("a bias that hangs on what the step before drew", "[kernels][device_sampler]") {
  SamplingCases cases(1000, 10);
  HostSampler device(1000);
  cpu::Sampler reference(1000);
  int changed = 0;
  for (int i = 0; i < 100; ++i) {
    SamplingCase c = cases.plain();
    if (i % 3 == 0) cases.add_penalties(c);
    if (i % 5 == 0) cases.add_bias(c);
    c.row.temperature = i % 2 == 0 ? 0.0f : 1.0f;
    const std::vector<int32_t> drawn{3, cases.id(), 7};
    SamplingCase seen = c;
    cases.add_bias_after(c, drawn[1]);
    c.row.previous_row = 1;
    c.point();
    seen.output.push_back(drawn[1]);
    seen.point();
    const int32_t plain = reference.sample(seen.logits, seen.row).token;
    for (const ConditionalBias& entry : c.after)
      if (entry.previous == drawn[1]) seen.bias.emplace_back(entry.token, entry.bias);
    seen.point();
    const int32_t token = device.sample(c.logits, c.row, drawn).token;
    CHECK(token == reference.sample(seen.logits, seen.row).token);
    changed += token != plain;
  }
  CHECK(changed > 30);
}

TEST_CASE("edits built part by part are those built whole", "[kernels][device_sampler]") {
  constexpr int32_t kVocab = 30001, kGroups = (kVocab + kGroup - 1) / kGroup;
  struct Built {
    std::vector<uint32_t> bits = std::vector<uint32_t>(kGroups * kGroupWords, 0xcccccccc);
    std::vector<int32_t> ranks = std::vector<int32_t>(kGroups, -1);
    std::vector<uint64_t> arena;  // the row and its values
    const DeviceRow& row() const { return *reinterpret_cast<const DeviceRow*>(arena.data()); }
  };
  SamplingCases cases(kVocab, 14);
  for (int i = 0; i < 20; ++i) {
    SamplingCase c = cases.plain();
    const std::vector<int32_t> drawn{cases.id(), cases.id()};
    c.row.previous_row = 1;
    if (i % 4 != 0) cases.add_penalties(c);
    if (i % 3 != 0) cases.add_bias(c);
    if (i % 2 == 0) cases.add_bias_after(c, drawn[1]);
    c.row.presence_penalty = 1.0f;
    c.point();
    const auto build = [&](int32_t part) {
      Built built;
      StepStaging staging(kVocab);
      staging.plan({&c.row, 1});
      built.arena.assign(staging.device_bytes() / 8 + 1, 0xcccccccccccccccc);
      auto* arena = reinterpret_cast<std::byte*>(built.arena.data());
      staging.write({&c.row, 1}, arena, arena, built.bits.data(), built.ranks.data());
      std::vector<uint32_t> bits(kGroups * kGroupWords);
      std::vector<int32_t> ranks(kGroups);
      SerialBlock block;
      for (int32_t first = (kGroups - 1) / part * part; first >= 0; first -= part) {
        build_edits(block, built.row().edits, c.logits.data(), first, std::min(part, kGroups - first),
                    drawn.data(), bits.data(), ranks.data());
      }
      return built;
    };
    const auto scores = [&](const Built& built) {
      const ScoreView view = edited_view(c.logits.data(), kVocab, built.row());
      std::vector<uint32_t> keys;
      for (int32_t t = 0; t < kVocab; ++t) keys.push_back(score_key(score_of(view, t)));
      return keys;
    };
    const Built whole = build(kGroups);
    for (const int32_t part : {1, 16, 64}) {
      const Built parts = build(part);
      CHECK(parts.bits == whole.bits);
      CHECK(scores(parts) == scores(whole));
    }
  }
}

TEST_CASE("a step's shared lists are packed once", "[kernels][device_sampler]") {
  const std::vector<int32_t> bans(271, 12), same_bans = bans, others{5};
  const std::vector<uint64_t> mask(2374, 1);
  std::vector<SamplingRow> rows(100);
  StepStaging staging(151936);
  staging.plan(rows);
  const size_t bare = staging.upload_bytes();
  for (size_t i = 0; i < rows.size(); ++i) rows[i].banned_tokens = i % 2 == 0 ? bans : same_bans;
  staging.plan(rows);
  CHECK(staging.upload_bytes() == bare + 1187 * 16);
  rows[3].banned_tokens = others;
  for (SamplingRow& row : rows) row.allowed_mask = mask;
  staging.plan(rows);
  CHECK(staging.upload_bytes() == bare + 3 * 1187 * 16);
  CHECK(staging.num_edited() == 0);
  rows[1].output_tokens = others;   // without a penalty
  rows[2].presence_penalty = 1.0f;  // without history
  staging.plan(rows);
  CHECK(staging.num_edited() == 0);
  const size_t unedited = staging.device_bytes() - staging.upload_bytes();
  CHECK(unedited == 0);
  rows[1].frequency_penalty = 1.0f;
  rows[2].previous_row = 0;
  staging.plan(rows);
  CHECK(staging.device_bytes() - staging.upload_bytes() == (2 + 1) * 8);
  CHECK(staging.num_edited() == 0);
  const std::vector<int32_t> history(StepStaging::kMostInParts, 7);
  rows[3].output_tokens = history;
  rows[3].frequency_penalty = 1.0f;
  staging.plan(rows);
  CHECK(staging.num_edited() == 1);
  CHECK(staging.num_wide() == 100);
  for (SamplingRow& row : rows) row.top_k = 20;
  rows[7].num_logprobs = 0;
  rows[8].top_k = 65;
  staging.plan(rows);
  CHECK(staging.num_wide() == 2);
}
