// The sampler against a plain implementation of its definition: full sorts, double precision, one step after
// the other.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "kernels/cpu/philox.h"
#include "kernels/cpu/sampler.h"
#include "tests/support/catch2.h"

using namespace qwend;
using namespace qwend::cpu;

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// Keeps tokens in the given order until they hold `share` of the probability.
void keep_share(std::vector<double>& p, const std::vector<int32_t>& order, double share) {
  double sum = 0.0;
  for (const int32_t t : order) {
    const bool full = sum >= share;
    sum += p[static_cast<size_t>(t)];
    if (full) p[static_cast<size_t>(t)] = 0.0;
  }
}

void renormalise(std::vector<double>& p) {
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
}

std::vector<int32_t> ordered(size_t size, auto before) {
  std::vector<int32_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), before);
  return order;
}

std::vector<double> scores_by_definition(const std::vector<float>& logits, const SamplingRow& row) {
  std::vector<double> x(logits.begin(), logits.end());
  for (const auto& [token, bias] : row.logit_bias) x[static_cast<size_t>(token)] += static_cast<double>(bias);
  for (size_t t = 0; t < x.size() && !row.allowed_mask.empty(); ++t) {
    if ((row.allowed_mask[t / 64] >> (t % 64) & 1u) == 0) x[t] = kNever;
  }
  for (const int32_t token : row.banned_tokens) x[static_cast<size_t>(token)] = kNever;
  std::map<int32_t, int> in_output, in_either;
  for (const int32_t t : row.output_tokens) ++in_output[t], ++in_either[t];
  for (const int32_t t : row.prompt_tokens) ++in_either[t];
  for (const auto& [token, count] : in_either) {
    double& score = x[static_cast<size_t>(token)];
    const double penalty = static_cast<double>(row.repetition_penalty);
    score = score > 0 ? score / penalty : score * penalty;
  }
  for (const auto& [token, count] : in_output) {
    x[static_cast<size_t>(token)] -=
        static_cast<double>(row.presence_penalty) + static_cast<double>(row.frequency_penalty) * count;
  }
  return x;
}

std::vector<double> distribution_by_definition(const std::vector<float>& logits, const SamplingRow& row) {
  std::vector<double> p = scores_by_definition(logits, row);
  const double top = *std::max_element(p.begin(), p.end());
  for (double& x : p) x = std::exp((x - top) / static_cast<double>(row.temperature));
  const auto likelier = [&](int32_t a, int32_t b) {
    return p[static_cast<size_t>(a)] > p[static_cast<size_t>(b)];
  };
  renormalise(p);
  if (row.top_k > 0) {
    const std::vector<int32_t> order = ordered(p.size(), likelier);
    for (size_t i = static_cast<size_t>(row.top_k); i < p.size(); ++i) p[static_cast<size_t>(order[i])] = 0.0;
    renormalise(p);
  }
  if (row.typical_p < 1.0f) {
    double entropy = 0.0;
    for (const double x : p) entropy -= x > 0 ? x * std::log(x) : 0.0;
    std::vector<double> deviation;
    for (const double x : p) deviation.push_back(std::abs(-std::log(x) - entropy));
    keep_share(p,
               ordered(p.size(),
                       [&](int32_t a, int32_t b) {
                         return deviation[static_cast<size_t>(a)] < deviation[static_cast<size_t>(b)];
                       }),
               static_cast<double>(row.typical_p));
    renormalise(p);
  }
  if (row.top_p < 1.0f) {
    keep_share(p, ordered(p.size(), likelier), static_cast<double>(row.top_p));
    renormalise(p);
  }
  const double best = *std::max_element(p.begin(), p.end());
  for (double& x : p) x = x >= static_cast<double>(row.min_p) * best ? x : 0.0;
  renormalise(p);
  if (excludes_top_choices(row)) {
    std::vector<int32_t> order = ordered(p.size(), likelier);
    std::erase_if(order, [&](int32_t t) {
      return p[static_cast<size_t>(t)] == 0.0 ||
             p[static_cast<size_t>(t)] < static_cast<double>(row.xtc_threshold);
    });
    for (size_t i = 0; i + 1 < order.size(); ++i) p[static_cast<size_t>(order[i])] = 0.0;
    renormalise(p);
  }
  return p;
}

std::vector<float> random_logits(size_t vocab, uint32_t seed, float spread = 3.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(vocab);
  for (float& x : logits) x = normal(random);
  return logits;
}

void check_distribution(const std::vector<float>& logits, const SamplingRow& row) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  const std::vector<double> expected = distribution_by_definition(logits, row);
  std::vector<double> got(logits.size(), 0.0);
  for (const Candidate& c : sampler.distribution(logits, row)) {
    CHECK(got[static_cast<size_t>(c.token)] == 0.0);  // each token once
    got[static_cast<size_t>(c.token)] = static_cast<double>(c.weight);
  }
  double worst = 0.0;
  int different_support = 0;
  for (size_t t = 0; t < expected.size(); ++t) {
    // e^x below 1e-37 is 0 in FP32
    different_support += (expected[t] > 1e-30) != (got[t] > 0.0) && expected[t] > 1e-30;
    different_support += expected[t] == 0.0 && got[t] > 0.0;
    worst = std::max(worst, std::abs(expected[t] - got[t]) / std::max(expected[t], 1e-6));
  }
  CHECK(different_support == 0);
  CHECK(worst < 2e-5);
}

// Pearson's statistic of draws at positions 0..n-1 against the definition; returned in standard deviations
// above its mean. Tokens expected less than 5 times count as one.
double chi_square_excess(const std::vector<float>& logits, SamplingRow row, int draws) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  std::vector<double> expected = distribution_by_definition(logits, row);
  if (row.xtc_probability > 0.0f) {  // a mixture of draws with and without
    SamplingRow never = row, always = row;
    never.xtc_probability = 0.0f, always.xtc_probability = 1.0f;
    expected = distribution_by_definition(logits, never);
    const std::vector<double> without_top = distribution_by_definition(logits, always);
    const auto share = static_cast<double>(row.xtc_probability);
    for (size_t t = 0; t < expected.size(); ++t)
      expected[t] = share * without_top[t] + (1.0 - share) * expected[t];
  }
  std::vector<int> counts(logits.size(), 0);
  for (row.position = 0; row.position < draws; ++row.position) {
    ++counts[static_cast<size_t>(sampler.sample(logits, row).token)];
  }
  double statistic = 0.0, rare_expected = 0.0;
  int freedom = -1, rare = 0;
  for (size_t t = 0; t < counts.size(); ++t) {
    if (expected[t] == 0.0) CHECK(counts[t] == 0);
    const double mean = expected[t] * draws;
    if (mean < 5.0) {
      rare_expected += mean;
      rare += counts[t];
      continue;
    }
    ++freedom;
    statistic += (counts[t] - mean) * (counts[t] - mean) / mean;
  }
  if (rare_expected >= 5.0) {
    ++freedom;
    statistic += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
  }
  if (freedom < 1) return 0.0;
  return (statistic - freedom) / std::sqrt(2.0 * freedom);
}

}  // namespace

TEST_CASE("philox gives the published numbers", "[kernels][sampler]") {
  // Known answers of Random123's kat_vectors for philox4x32, 10 rounds.
  using Four = std::array<uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("every filter keeps what its definition keeps", "[kernels][sampler]") {
  std::mt19937 random(7);
  const auto pick = [&](auto... options) {
    const std::vector<float> list{static_cast<float>(options)...};
    return list[random() % list.size()];
  };
  for (uint32_t round = 0; round < 400; ++round) {
    const size_t vocab = std::vector<size_t>{1, 2, 17, 100, 1000, 5003}[random() % 6];
    const std::vector<float> logits = random_logits(vocab, round, pick(0.3f, 2, 6));
    SamplingRow row;
    row.temperature = pick(0.1f, 0.7f, 1, 1.9f);
    row.top_k = static_cast<int32_t>(pick(0, 0, 2, 20, 900, 1e6f));
    row.top_p = pick(1, 1, 0.01f, 0.5f, 0.95f, 0.999f);
    row.typical_p = pick(1, 1, 1, 0.2f, 0.9f);
    row.min_p = pick(0, 0, 0.001f, 0.1f, 1);
    row.xtc_probability = pick(0, 0, 0.5f, 1);
    row.xtc_threshold = pick(0.001f, 0.03f, 0.1f, 0.6f);
    row.seed = round;
    row.repetition_penalty = pick(1, 1, 1.3f, 0.8f);
    row.presence_penalty = pick(0, 0, 1.5f, -1);
    row.frequency_penalty = pick(0, 0, 0.4f);
    std::vector<int32_t> prompt, output, banned;
    std::vector<std::pair<int32_t, float>> bias;
    const auto token = [&] { return static_cast<int32_t>(random() % vocab); };
    for (int i = 0; i < 20; ++i) prompt.push_back(token()), output.push_back(token());
    for (int i = 0; i < 3; ++i) bias.emplace_back(token(), pick(-100, 5, 0.5f));
    std::vector<uint64_t> mask;
    if (vocab > 2) {
      banned = {token(), token()};
      if (random() % 2 == 0) {
        mask.resize((vocab + 63) / 64);
        for (uint64_t& word : mask) word = (uint64_t{random()} << 32 | random()) | 0x8000000100000001u;
        banned.clear();
      }
    }
    row.prompt_tokens = prompt;
    row.output_tokens = output;
    row.banned_tokens = banned;
    row.logit_bias = bias;
    row.allowed_mask = mask;
    INFO("round " << round << " vocab " << vocab << " t " << row.temperature << " k " << row.top_k << " p "
                  << row.top_p << " typical " << row.typical_p << " min_p " << row.min_p);
    check_distribution(logits, row);
  }
}

TEST_CASE("a real vocabulary: filters and draws", "[kernels][sampler]") {
  const std::vector<float> logits = random_logits(151936, 3, 2.5f);
  for (const float top_p : {1.0f, 0.8f, 0.999f}) {
    for (const int32_t top_k : {0, 20, 50000}) {
      SamplingRow row;
      row.top_p = top_p;
      row.top_k = top_k;
      INFO("top_p " << top_p << " top_k " << top_k);
      check_distribution(logits, row);
    }
  }
}

TEST_CASE("draws follow the distribution", "[kernels][sampler]") {
  const std::vector<float> logits = random_logits(300, 11, 1.5f);
  std::vector<SamplingRow> rows(9);
  rows[1].temperature = 0.5f;
  rows[2].top_k = 12;
  rows[3].top_p = 0.7f;
  rows[4].min_p = 0.2f;
  rows[5].typical_p = 0.6f;
  rows[6].top_k = 50, rows[6].top_p = 0.9f, rows[6].temperature = 1.3f;
  rows[7].xtc_probability = 0.4f, rows[7].xtc_threshold = 0.02f;
  rows[8].xtc_probability = 1.0f, rows[8].xtc_threshold = 0.05f, rows[8].top_p = 0.8f;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].seed = 1000 + i;
    INFO("row " << i);
    const double excess = chi_square_excess(logits, rows[i], 20000);
    CHECK(excess < 4.5);
    CHECK(excess > -4.5);  // a generator that is too even is wrong as well
  }
  // A uniform vocabulary larger than a span of the draw's partial sums.
  SamplingRow flat;
  flat.seed = 5;
  CHECK(chi_square_excess(std::vector<float>(3000, 0.25f), flat, 60000) < 4.5);
}

TEST_CASE("a draw depends on seed and position alone", "[kernels][sampler]") {
  const std::vector<float> logits = random_logits(2000, 1), others = random_logits(2000, 2);
  Sampler used(2000);
  SamplingRow row;
  std::vector<int32_t> first, again, other_seed;
  for (row.position = 0; row.position < 50; ++row.position) {
    first.push_back(Sampler(2000).sample(logits, row).token);
    SamplingRow busy = row;
    busy.top_p = 0.5f;
    busy.num_logprobs = 5;
    used.sample(others, busy);
    again.push_back(used.sample(logits, row).token);
    busy = row;
    busy.seed = 1;
    other_seed.push_back(used.sample(logits, busy).token);
  }
  CHECK(first == again);
  CHECK(first != other_seed);
  CHECK(std::count(first.begin(), first.end(), first[0]) < 50);
}

TEST_CASE("greedy takes the largest logit after bias and penalties, lowest id on a tie",
          "[kernels][sampler]") {
  std::vector<float> logits(100, -1.0f);
  logits[40] = logits[41] = logits[90] = 3.0f;
  Sampler sampler(100);
  SamplingRow row;
  row.temperature = 0.0f;
  row.num_logprobs = 3;
  const SampledToken plain = sampler.sample(logits, row);
  CHECK(plain.token == 40);
  CHECK(plain.logprob == plain.top[0].logprob);
  CHECK(plain.top[0].token == 40);
  CHECK(plain.top[1].token == 41);
  CHECK(plain.top[2].token == 90);

  const std::vector<int32_t> banned{40}, output{41};
  row.banned_tokens = banned;
  row.output_tokens = output;
  row.presence_penalty = 0.5f;
  const SampledToken penalised = sampler.sample(logits, row);
  CHECK(penalised.token == 90);
  CHECK(penalised.top[0].token == 40);  // log-probabilities are those of the raw logits
  CHECK(penalised.logprob == plain.logprob);

  const std::pair<int32_t, float> bias[] = {{7, 100.0f}};
  row.logit_bias = bias;
  CHECK(sampler.sample(logits, row).token == 7);
  row.temperature = 1.0f;
  row.top_k = 1;
  CHECK(sampler.sample(logits, row).token == 7);
}

TEST_CASE("log-probabilities are the log-softmax of the raw logits", "[kernels][sampler]") {
  const std::vector<float> logits = random_logits(151936, 9);
  double sum = 0.0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  const std::vector<int32_t> order = ordered(logits.size(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  Sampler sampler(151936);
  SamplingRow row;
  row.temperature = 0.8f;
  for (const int32_t k : {0, 1, 20}) {
    row.num_logprobs = k;
    const SampledToken drawn = sampler.sample(logits, row);
    REQUIRE(drawn.top.size() == static_cast<size_t>(k));
    for (size_t i = 0; i < drawn.top.size(); ++i) {
      CHECK(drawn.top[i].token == order[i]);
      CHECK(drawn.top[i].logprob ==
            Approx(static_cast<double>(logits[static_cast<size_t>(order[i])]) - std::log(sum)).margin(1e-5));
    }
    CHECK(drawn.logprob ==
          Approx(static_cast<double>(logits[static_cast<size_t>(drawn.token)]) - std::log(sum)).margin(1e-5));
  }
}

TEST_CASE("the largest scores, by lowest id on a tie, for any count", "[kernels][sampler]") {
  for (const int64_t vocab : {1, 63, 64, 65, 1000, 4096, 20000}) {
    std::vector<float> logits = random_logits(static_cast<size_t>(vocab), 11);
    for (const float steps : {0.0f, 1.0f, 1000.0f}) {  // all equal, many ties, few
      for (float& x : logits) x = std::round(x * steps) / 1000.0f;
      logits.back() = -std::numeric_limits<float>::infinity();
      const std::vector<int32_t> order = ordered(logits.size(), [&](int32_t a, int32_t b) {
        const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
        return x != y ? x > y : a < b;
      });
      if (vocab == 1) logits[0] = 1.0f;
      Sampler sampler(vocab);
      SamplingRow row;
      for (const int32_t k : {1, 2, 20, 64, 300}) {
        row.num_logprobs = k;
        const SampledToken drawn = sampler.sample(logits, row);
        const int64_t finite = std::max<int64_t>(vocab - 1, 1);
        REQUIRE(drawn.top.size() == static_cast<size_t>(std::min<int64_t>(k, finite)));
        bool same = true;
        for (size_t i = 0; i < drawn.top.size(); ++i) same = same && drawn.top[i].token == order[i];
        INFO("vocabulary of " << vocab << ", " << steps << " steps, " << k << " largest");
        CHECK(same);
      }
    }
  }
}

TEST_CASE("XTC leaves the least likely of the top choices", "[kernels][sampler]") {
  std::vector<float> logits(50, -20.0f);
  logits[7] = 3.0f, logits[30] = 2.5f, logits[12] = logits[40] = 2.0f, logits[3] = -1.0f;
  Sampler sampler(50);
  SamplingRow row;
  row.xtc_probability = 1.0f;
  row.xtc_threshold = 0.1f;
  for (row.position = 0; row.position < 200; ++row.position) {
    const int32_t token = sampler.sample(logits, row).token;
    CHECK((token == 40 || token == 3));  // 40 ties with 12: the highest id stays
  }
  row.xtc_threshold = 0.6f;  // no two tokens can hold that much
  CHECK(sampler.distribution(logits, row).size() == 50);
  row.temperature = 0.0f;
  row.xtc_threshold = 0.0f;
  CHECK(sampler.sample(logits, row).token == 7);  // greedy stays greedy
}

TEST_CASE("log-probabilities of tokens that were asked for", "[kernels][sampler]") {
  const std::vector<float> logits = random_logits(500, 21);
  Sampler sampler(500);
  SamplingRow row;
  row.num_logprobs = 500;
  std::vector<float> all(500);
  for (const TokenLogprob& top : sampler.sample(logits, row).top)
    all[static_cast<size_t>(top.token)] = top.logprob;
  const int32_t best = static_cast<int32_t>(std::max_element(all.begin(), all.end()) - all.begin());
  const std::vector<int32_t> asked{499, best, 0};
  row.logprob_tokens = asked;
  row.num_logprobs = 2;
  const SampledToken drawn = sampler.sample(logits, row);
  REQUIRE(drawn.top.size() == 4);
  CHECK(drawn.top[0].token == best);  // once
  CHECK(drawn.top[2].token == 499);
  CHECK(drawn.top[3].token == 0);
  for (const TokenLogprob& top : drawn.top) CHECK(top.logprob == all[static_cast<size_t>(top.token)]);
}

TEST_CASE("logits that are not finite", "[kernels][sampler]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  Sampler sampler(40);
  SamplingRow greedy, warm;
  greedy.temperature = 0.0f;
  greedy.num_logprobs = warm.num_logprobs = 2;
  for (SamplingRow row : {greedy, warm}) {
    std::vector<float> logits(40, nan);
    CHECK_THROWS_AS(sampler.sample(logits, row), std::runtime_error);
    logits.assign(40, -inf);
    CHECK_THROWS_AS(sampler.sample(logits, row), std::runtime_error);
    logits.assign(40, nan);
    logits[5] = -2.0f;
    const SampledToken only = sampler.sample(logits, row);
    CHECK(only.token == 5);
    CHECK(only.logprob == 0.0f);
    logits.assign(40, 1.0f);
    logits[3] = nan;
    logits[17] = inf;
    logits[20] = -inf;
    for (row.position = 0; row.position < 20; ++row.position) {
      const SampledToken drawn = sampler.sample(logits, row);
      CHECK(drawn.token == 17);
      CHECK(drawn.logprob == 0.0f);
    }
    for (const float top_p : {0.5f, 1.0f}) {
      for (const float typical_p : {0.5f, 1.0f}) {
        row.top_p = top_p, row.typical_p = typical_p, row.min_p = 0.1f;
        CHECK(sampler.sample(logits, row).token == 17);
      }
    }
  }
}

TEST_CASE("bans and mask that leave nothing", "[kernels][sampler]") {
  const std::vector<float> logits = random_logits(70, 4);
  Sampler sampler(70);
  const uint64_t mask[] = {0, uint64_t{1} << 5};  // token 69 alone
  const int32_t banned[] = {69, 69};
  for (const float temperature : {0.0f, 1.0f}) {
    SamplingRow row;
    row.temperature = temperature;
    row.allowed_mask = mask;
    CHECK(sampler.sample(logits, row).token == 69);
    row.banned_tokens = banned;
    CHECK(sampler.sample(logits, row).token == 69);  // the mask is a promise to the client, the ban a wish
    const uint64_t nothing[] = {0, 0};
    row.allowed_mask = nothing;
    CHECK_THROWS_AS(sampler.sample(logits, row), std::runtime_error);
  }
}
