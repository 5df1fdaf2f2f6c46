#include "kernels/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/check.h"
#include "kernels/cpu/philox.h"
#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {

namespace {
constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kHighest = std::numeric_limits<float>::max();

bool allows(std::span<const uint64_t> mask, int64_t token) {
  const auto word = static_cast<size_t>(token / 64);
  return word < mask.size() && (mask[word] >> (token % 64) & 1u) != 0;
}
}  // namespace

Sampler::Sampler(int64_t vocab)
    : vocab_(vocab),
      scores_(static_cast<size_t>(vocab)),
      weights_(static_cast<size_t>(vocab)),
      counts_(static_cast<size_t>(vocab)),
      seen_(static_cast<size_t>(vocab)) {
  CHECK(vocab > 0);
}

SampledToken Sampler::sample(std::span<const float> logits, const SamplingRow& row) {
  CHECK(static_cast<int64_t>(logits.size()) == vocab_);
  CHECK(row.bias_after.empty());  // no step is in flight here
  SampledToken result;
  float log_sum = 0.0f;
  copy_finite(logits);
  if (row.num_logprobs >= 0) fill_logprobs(row, result, log_sum);
  restrict(row);
  apply_penalties(row);
  if (is_greedy(row)) {
    result.token = argmax();
  } else {
    filter(row);
    result.token = draw(uniform_at(row.seed, row.position));
  }
  if (row.num_logprobs >= 0) {
    const float logit = logits[static_cast<size_t>(result.token)];
    result.logprob = (std::isnan(logit) ? kLowest : std::min(logit, kHighest)) - log_sum;
  }
  return result;
}

std::vector<Candidate> Sampler::distribution(std::span<const float> logits, const SamplingRow& row) {
  copy_finite(logits);
  restrict(row);
  apply_penalties(row);
  if (is_greedy(row)) return {{argmax(), 1.0f}};
  filter(row);
  std::vector<Candidate> all = candidates_;
  if (!listed_) {
    all.clear();
    for (int64_t t = 0; t < vocab_; ++t) {
      const float weight = weights_[static_cast<size_t>(t)];
      if (weight > 0.0f) all.push_back({static_cast<int32_t>(t), weight});
    }
  }
  double total = 0.0;
  for (const Candidate& c : all) total += static_cast<double>(c.weight);
  for (Candidate& c : all) c.weight = static_cast<float>(static_cast<double>(c.weight) / total);
  return all;
}

void Sampler::copy_finite(std::span<const float> logits) {
  if (vector_ops().finite(logits.data(), vocab_, scores_.data()) == kLowest) {
    throw std::runtime_error("the model's logits hold no finite number");
  }
}

// log_sum: what to take from a logit for its log-probability.
void Sampler::fill_logprobs(const SamplingRow& row, SampledToken& result, float& log_sum) {
  const float top = vector_ops().max(scores_.data(), vocab_);
  const double sum = vector_ops().exp_sum(scores_.data(), top, 1.0f, vocab_, nullptr);
  log_sum = static_cast<float>(static_cast<double>(top) + std::log(sum));
  select_largest(row.num_logprobs, candidates_);
  result.top.reserve(candidates_.size());
  for (const Candidate& c : candidates_) {
    result.top.push_back({c.token, scores_[static_cast<size_t>(c.token)] - log_sum});
  }
  const auto num_largest = static_cast<std::ptrdiff_t>(result.top.size());
  for (const int32_t token : row.logprob_tokens) {
    CHECK(token >= 0 && token < vocab_);
    const auto largest = result.top.begin() + num_largest;
    const auto is_token = [&](const TokenLogprob& entry) { return entry.token == token; };
    if (std::none_of(result.top.begin(), largest, is_token)) {
      result.top.push_back({token, scores_[static_cast<size_t>(token)] - log_sum});
    }
  }
}

void Sampler::restrict(const SamplingRow& row) {
  for (const auto& [token, bias] : row.logit_bias) {
    CHECK(token >= 0 && token < vocab_);
    float& score = scores_[static_cast<size_t>(token)];
    score = std::min(score + bias, kHighest);
  }
  if (!row.allowed_mask.empty()) {
    for (int64_t t = 0; t < vocab_; ++t) {
      if (!allows(row.allowed_mask, t)) scores_[static_cast<size_t>(t)] = kLowest;
    }
  }
  if (row.banned_tokens.empty() && row.allowed_mask.empty()) return;
  touched_.clear();
  std::vector<float> before_bans;
  for (const int32_t token : row.banned_tokens) {
    CHECK(token >= 0 && token < vocab_);
    before_bans.push_back(scores_[static_cast<size_t>(token)]);
    scores_[static_cast<size_t>(token)] = kLowest;
  }
  if (vector_ops().max(scores_.data(), vocab_) > kLowest) return;
  // Nothing is left: give the bans up, last first so that a token banned twice gets its score back.
  for (size_t i = row.banned_tokens.size(); i-- > 0;) {
    scores_[static_cast<size_t>(row.banned_tokens[i])] = before_bans[i];
  }
  if (vector_ops().max(scores_.data(), vocab_) > kLowest) return;
  for (int64_t t = 0; t < vocab_; ++t) {  // allowed tokens whose logits are all -inf: the lowest id
    if (!allows(row.allowed_mask, t)) continue;
    scores_[static_cast<size_t>(t)] = 0.0f;
    return;
  }
  throw std::runtime_error("the mask of allowed tokens is empty");
}

void Sampler::apply_penalties(const SamplingRow& row) {
  const bool repetition = row.repetition_penalty != 1.0f;
  if (!repetition && row.presence_penalty == 0.0f && row.frequency_penalty == 0.0f) return;
  touched_.clear();
  auto touch = [&](int32_t token) {
    CHECK(token >= 0 && token < vocab_);
    uint8_t& seen = seen_[static_cast<size_t>(token)];
    if (seen == 0) touched_.push_back(token);
    seen = 1;
  };
  if (repetition) std::for_each(row.prompt_tokens.begin(), row.prompt_tokens.end(), touch);
  for (const int32_t token : row.output_tokens) {
    touch(token);
    ++counts_[static_cast<size_t>(token)];
  }
  for (const int32_t token : touched_) {
    float& score = scores_[static_cast<size_t>(token)];
    int32_t& count = counts_[static_cast<size_t>(token)];
    if (repetition) score = score > 0.0f ? score / row.repetition_penalty : score * row.repetition_penalty;
    if (count > 0) score -= row.presence_penalty + row.frequency_penalty * static_cast<float>(count);
    score = std::min(score, kHighest);
    count = 0;
    seen_[static_cast<size_t>(token)] = 0;
  }
}

int32_t Sampler::argmax() const {
  const float top = vector_ops().max(scores_.data(), vocab_);
  return static_cast<int32_t>(std::find(scores_.begin(), scores_.end(), top) - scores_.begin());
}

int32_t Sampler::draw(double uniform) {
  if (listed_) return draw_listed(uniform);
  // Whole vocabulary: find the span of the draw by partial sums, then the token inside it.
  constexpr int64_t kSpan = 1024;
  auto span_sum = [&](int64_t begin) {
    double sum = 0.0;
    for (int64_t t = begin; t < std::min(begin + kSpan, vocab_); ++t) {
      sum += static_cast<double>(weights_[static_cast<size_t>(t)]);
    }
    return sum;
  };
  double total = 0.0;
  for (int64_t begin = 0; begin < vocab_; begin += kSpan) total += span_sum(begin);
  double left = uniform * total;
  int64_t last_positive = 0;
  for (int64_t begin = 0; begin < vocab_; begin += kSpan) {
    const double sum = span_sum(begin);
    if (left >= sum && begin + kSpan < vocab_) {
      left -= sum;
      continue;
    }
    for (int64_t t = begin; t < std::min(begin + kSpan, vocab_); ++t) {
      const float weight = weights_[static_cast<size_t>(t)];
      if (weight <= 0.0f) continue;
      last_positive = t;
      left -= static_cast<double>(weight);
      if (left < 0.0) return static_cast<int32_t>(t);
    }
  }
  return weights_[static_cast<size_t>(last_positive)] > 0.0f ? static_cast<int32_t>(last_positive) : argmax();
}

// Halves the range of ids around the draw instead of sorting the list.
int32_t Sampler::draw_listed(double uniform) {
  double total = 0.0;
  for (const Candidate& c : candidates_) total += static_cast<double>(c.weight);
  double left = uniform * total;
  auto first = candidates_.begin(), last = candidates_.end();
  auto low = int32_t{0}, high = static_cast<int32_t>(vocab_);
  while (last - first > 32) {
    const int32_t middle_id = low + (high - low) / 2;
    double below = 0.0;
    const auto middle = std::partition(first, last, [&](const Candidate& c) {
      if (c.token < middle_id) below += static_cast<double>(c.weight);
      return c.token < middle_id;
    });
    if (left < below) {
      last = middle;
      high = middle_id;
    } else {
      left -= below;
      first = middle;
      low = middle_id;
    }
  }
  if (first == last) --first;  // rounding put the draw past the last token
  std::sort(first, last, [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  int32_t drawn = first->token;
  for (auto c = first; c != last; ++c) {
    if (c->weight <= 0.0f) continue;
    drawn = c->token;
    left -= static_cast<double>(c->weight);
    if (left < 0.0) break;
  }
  return drawn;
}

}  // namespace qwend::cpu
