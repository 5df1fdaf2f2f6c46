#include "engine/run/history_bias.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "kernels/check.h"

namespace qwend {
namespace {

// As good as a ban, yet finite: where nothing else is allowed, it gives way.
constexpr float kBan = -1e30f;

// lengths[i]: how many tokens from reversed[i] on equal those from reversed[0] on (the Z function).
void common_prefixes(std::span<const int32_t> tokens, std::vector<int32_t>& lengths) {
  const auto size = static_cast<int32_t>(tokens.size());
  lengths.assign(tokens.size(), 0);
  const auto at = [&](int32_t i) { return tokens[static_cast<size_t>(size - 1 - i)]; };
  for (int32_t i = 1, begin = 0, end = 0; i < size; ++i) {
    int32_t& length = lengths[static_cast<size_t>(i)];
    if (i < end) length = std::min(end - i, lengths[static_cast<size_t>(i - begin)]);
    while (i + length < size && at(length) == at(i + length)) ++length;
    if (i + length > end) begin = i, end = i + length;
  }
}

}  // namespace

bool HistoryBias::wanted(const SamplingParams& params) {
  const bool phrases = std::ranges::any_of(params.bad_words, [](const auto& w) { return w.size() > 1; });
  return phrases || params.dry.active();
}

void HistoryBias::collect(std::span<const int32_t> prompt, std::span<const int32_t> output, bool pending,
                          std::vector<std::pair<int32_t, float>>& always,
                          std::vector<ConditionalBias>& after) {
  if (tokens_.empty()) append(prompt);
  append(output.subspan(tokens_.size() - prompt.size()));
  // Either way one token is left out: the unknown one, or the last, which then decides.
  const int32_t* last = pending ? nullptr : &tokens_.back();
  const size_t end = tokens_.size() - (pending ? 0 : 1);
  found_.clear();
  if (params_->dry.active()) add_dry(end, last);
  if (pending || !output.empty()) add_bad_words(end, prompt.size(), last);

  const auto key = [](const ConditionalBias& e) { return std::tie(e.previous, e.token); };
  std::ranges::sort(found_, [&](const auto& a, const auto& b) { return key(a) < key(b); });
  for (size_t i = 0; i < found_.size();) {
    ConditionalBias sum = found_[i++];
    for (; i < found_.size() && key(found_[i]) == key(sum); ++i) sum.bias += found_[i].bias;
    if (pending) {
      after.push_back(sum);
    } else {
      always.emplace_back(sum.token, sum.bias);
    }
  }
}

void HistoryBias::append(std::span<const int32_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  if (!params_->dry.active()) return;
  size_t longest = 1;
  for (const std::string& breaker : params_->dry.breakers) longest = std::max(longest, breaker.size());
  for (const int32_t token : tokens) {
    const size_t before = tail_.size();
    tail_ += tokenizer_->bytes(token);
    bool breaks = tokenizer_->is_control(token);
    for (const std::string& breaker : params_->dry.breakers) {
      const size_t at = tail_.rfind(breaker);
      breaks |= at != std::string::npos && at + breaker.size() > before;
    }
    unbroken_.push_back(breaks ? 0 : unbroken_.empty() ? 1 : unbroken_.back() + 1);
    if (tail_.size() >= longest) tail_.erase(0, tail_.size() - (longest - 1));
  }
}

float HistoryBias::penalty(int32_t length) const {
  const DryParams& dry = params_->dry;
  const double power = std::pow(static_cast<double>(dry.base), length - dry.allowed_length);
  return -static_cast<float>(std::min(static_cast<double>(dry.multiplier) * power, 1e30));
}

// `x` is the token after the first `end` ones. An earlier occurrence of it at j ends a repetition that is one
// token longer than what the texts before both have in common.
void HistoryBias::add_dry(size_t end, const int32_t* last) {
  const DryParams& dry = params_->dry;
  size_t begin = 0;
  if (dry.last_n >= 0 && end + 1 > static_cast<size_t>(dry.last_n))
    begin = end + 1 - static_cast<size_t>(dry.last_n);
  if (begin >= end) return;
  common_prefixes(std::span(tokens_).subspan(begin, end - begin), repeated_);
  struct Match {
    int32_t previous, token, length;
  };
  std::vector<Match> matches;
  for (size_t j = begin; j < end; ++j) {
    if (last != nullptr && tokens_[j] != *last) continue;
    const bool x_follows = j + 1 == end;  // and equals the token at j
    if (unbroken_[j] == 0 || (!x_follows && unbroken_[j + 1] == 0)) continue;
    const int32_t before = j == begin ? 0 : std::min(repeated_[end - j], unbroken_[j - 1]);
    if (before + 1 < dry.allowed_length) continue;
    matches.push_back({tokens_[j], tokens_[x_follows ? j : j + 1], before + 1});
  }
  std::ranges::sort(matches, [](const Match& a, const Match& b) {
    return std::tie(a.previous, a.token, b.length) < std::tie(b.previous, b.token, a.length);
  });
  for (size_t i = 0; i < matches.size(); ++i) {  // the longest of each pair comes first
    const Match& m = matches[i];
    const bool seen = i > 0 && matches[i - 1].previous == m.previous && matches[i - 1].token == m.token;
    if (!seen) found_.push_back({m.previous, m.token, penalty(m.length)});
  }
}

void HistoryBias::add_bad_words(size_t end, size_t first_output, const int32_t* last) {
  for (const std::vector<int32_t>& word : params_->bad_words) {
    if (word.size() < 2) continue;
    const size_t known = word.size() - 2;  // tokens before x
    const int32_t previous = word[word.size() - 2];
    if (last != nullptr && previous != *last) continue;
    if (end < first_output + known) continue;
    if (std::equal(word.begin(), word.begin() + static_cast<ptrdiff_t>(known),
                   tokens_.begin() + static_cast<ptrdiff_t>(end - known)))
      found_.push_back({previous, word.back(), kBan});
  }
}

}  // namespace qwend
