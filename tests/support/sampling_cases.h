// Logits and sampling rows with every setting, alone and combined.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/sampling.h"

namespace qwend::test {

// A row and what it points to. Move it, and the spans stay valid.
struct SamplingCase {
  std::vector<float> logits;
  std::vector<int32_t> prompt, output, banned, logprob_tokens;
  std::vector<ConditionalBias> after;
  std::vector<std::pair<int32_t, float>> bias;
  std::vector<uint64_t> mask;
  SamplingRow row;

  void point() {
    row.prompt_tokens = prompt;
    row.output_tokens = output;
    row.banned_tokens = banned;
    row.logit_bias = bias;
    row.allowed_mask = mask;
    row.logprob_tokens = logprob_tokens;
    row.bias_after = after;
  }
};

class SamplingCases {
 public:
  SamplingCases(size_t vocab, uint32_t seed) : vocab_(vocab), random_(seed) {}

  // Bell-shaped, with a few likely tokens as a model's are, rounded so that some tie, or with what is not
  // finite.
  std::vector<float> logits() {
    std::normal_distribution<float> normal(0.0f, pick(0.3f, 2.0f, 6.0f));
    std::vector<float> x(vocab_);
    for (float& value : x) value = normal(random_);
    if (chance(2)) {
      for (int i = 0; i < 12; ++i) x[token()] += pick(3.0f, 8.0f, 15.0f);
    }
    if (chance(5)) {
      for (float& value : x) value = std::round(value * 2.0f) / 2.0f;
    }
    if (chance(10)) {
      const float inf = std::numeric_limits<float>::infinity();
      for (size_t i = 0; i < 1 + vocab_ / 50; ++i) x[token()] = chance(2) ? -inf : std::nanf("");
      if (chance(4)) x[token()] = inf;
    }
    if (chance(40)) x.assign(vocab_, 0.25f);
    return x;
  }

  // Each setting is on in about half of the rows.
  SamplingCase mixed() {
    SamplingCase c = plain();
    c.row.temperature = pick(0.0f, 0.1f, 0.7f, 1.0f, 1.9f, 1.0f);
    c.row.top_k = static_cast<int32_t>(pick(0, 0, 0, 1, 2, 20, 20, 50, 300, 900, 60000));
    c.row.top_p = pick(1, 1, 1, 0.01f, 0.5f, 0.8f, 0.95f, 0.999f);
    c.row.typical_p = pick(1, 1, 1, 0.2f, 0.9f);
    c.row.min_p = pick(0, 0, 0, 0.001f, 0.1f, 1);
    if (chance(3)) add_penalties(c);
    if (chance(4)) add_bias(c);
    if (chance(3)) add_bans(c);
    if (chance(5)) add_mask(c);
    if (chance(4)) c.row.num_logprobs = static_cast<int32_t>(pick(0, 1, 5, 20, 20, 600));
    if (chance(3)) add_logprob_tokens(c);
    if (chance(3)) {
      c.row.xtc_probability = pick(0.5f, 1);
      c.row.xtc_threshold = pick(0, 0.013f, 0.11f, 0.3f, 0.7f);  // no share of equal logits
    }
    return c;
  }
  SamplingCase plain() {
    SamplingCase c;
    c.logits = logits();
    c.row.seed = random_();
    c.row.position = static_cast<int64_t>(random_() % 5000);
    return c;
  }
  void add_penalties(SamplingCase& c) {
    c.row.repetition_penalty = pick(1, 1.05f, 1.3f, 0.8f);
    c.row.presence_penalty = pick(0, 0, 1.5f, -1);
    c.row.frequency_penalty = pick(0, 0, 0.4f);
    const size_t count = random_() % 4 == 0 ? 3000 : random_() % 60;
    for (size_t i = 0; i < count; ++i) c.prompt.push_back(id()), c.output.push_back(id());
    for (size_t i = 0; i < count / 3; ++i) c.output.push_back(c.output[i]);
  }
  void add_bias(SamplingCase& c) {
    for (int i = 0; i < 6; ++i) c.bias.emplace_back(id(), pick(-100, 5, 0.5f, 100));
    c.bias.push_back(c.bias[2]);
  }
  void add_logprob_tokens(SamplingCase& c) {
    for (size_t t = token(), step = 1 + vocab_ / 7; t < vocab_; t += step) {
      c.logprob_tokens.push_back(static_cast<int32_t>(t));
    }
  }
  // For `previous` and for other tokens.
  void add_bias_after(SamplingCase& c, int32_t previous) {
    const auto add = [&](int32_t before, int32_t token, float bias) {
      const auto same = [&](const ConditionalBias& e) { return e.previous == before && e.token == token; };
      if (std::none_of(c.after.begin(), c.after.end(), same)) c.after.push_back({before, token, bias});
    };
    for (int i = 0; i < 8; ++i) {
      const int32_t best =
          static_cast<int32_t>(std::max_element(c.logits.begin(), c.logits.end()) - c.logits.begin());
      add(previous, i == 0 ? best : id(), pick(-4, -100, 3));
      add(id(), i == 0 ? best : id(), -1e30f);
    }
  }
  void add_bans(SamplingCase& c) {
    if (vocab_ < 4) return;
    const size_t first = vocab_ - vocab_ / 4;
    for (size_t t = first; t < vocab_; ++t) c.banned.push_back(static_cast<int32_t>(t));
    for (int i = 0; i < 3; ++i) c.banned.push_back(id());
  }
  void add_mask(SamplingCase& c) {
    c.mask.assign((vocab_ + 63) / 64, 0);
    const bool dense = chance(2);
    for (uint64_t& word : c.mask) {
      const uint64_t bits = uint64_t{random_()} << 32 | random_();
      word = dense ? bits : bits & (uint64_t{random_()} << 32 | random_()) & (chance(20) ? ~uint64_t{0} : 0);
    }
    c.mask[0] |= 1;
  }

  template <class... T>
  float pick(T... options) {
    const float list[] = {static_cast<float>(options)...};
    return list[random_() % sizeof...(options)];
  }
  bool chance(uint32_t one_in) { return random_() % one_in == 0; }
  size_t token() { return random_() % vocab_; }
  int32_t id() { return static_cast<int32_t>(token()); }

 private:
  size_t vocab_;
  std::mt19937 random_;
};

// What a sampler meets rarely: logits that are not finite, bans and masks that leave nothing, filters that
// drop the likeliest token. Some of them must be refused. vocab: 700.
inline std::vector<SamplingCase> edge_cases() {
  constexpr size_t kVocab = 700;
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<SamplingCase> all;
  const auto add = [&](float everywhere, auto change) {
    for (const float temperature : {0.0f, 1.0f}) {
      for (const int32_t top_k : {0, 20}) {
        SamplingCase c;
        c.logits.assign(kVocab, everywhere);
        c.row.temperature = temperature;
        c.row.top_k = top_k;
        c.row.num_logprobs = 3;
        c.row.seed = all.size();
        change(c);
        all.push_back(std::move(c));
      }
    }
  };
  add(nan, [](SamplingCase&) {});
  add(-inf, [](SamplingCase&) {});
  add(nan, [](SamplingCase& c) { c.logits[600] = -2.0f; });
  add(1.0f, [&](SamplingCase& c) { c.logits[3] = nan, c.logits[170] = inf, c.logits[20] = -inf; });
  const auto ban_all = [](SamplingCase& c) {
    for (size_t t = 0; t < kVocab; ++t) c.banned.push_back(static_cast<int32_t>(t));
  };
  add(1.0f, ban_all);
  add(1.0f, [&](SamplingCase& c) {  // the mask stays where the bans give way
    ban_all(c);
    c.mask.assign(11, 0);
    c.mask[10] = 0b110000;
    c.row.top_p = 0.99f;
  });
  add(1.0f, [&](SamplingCase& c) {  // allowed tokens, but no logits
    c.mask.assign(11, 0);
    c.mask[2] = 0b110;
    c.logits[129] = c.logits[130] = -inf;
  });
  add(1.0f, [](SamplingCase& c) { c.mask.assign(11, 0); });
  add(0.0f, [](SamplingCase& c) {  // typical_p drops the likeliest, and min_p goes by what is left
    c.logits[5] = 5.7f;
    c.row.typical_p = 0.3f;
    c.row.min_p = 0.5f;
    if (c.row.top_k > 0) c.row.top_k = 400;
  });
  add(3e38f, [](SamplingCase& c) { c.logits[9] = 3.2e38f, c.logits[10] = -3e38f; });
  return all;
}

}  // namespace qwend::test
