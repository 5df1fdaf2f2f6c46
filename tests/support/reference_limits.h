// What DRY, bad words, openings, a thinking limit and a repetition limit mean, by their definitions.
#pragma once
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend::test {

// Tokens of the text in which a breaker ends.
inline std::vector<bool> breakers_in(const std::vector<int32_t>& text, const DryParams& dry,
                                     const Tokenizer& tokenizer) {
  std::vector<bool> breaks;
  std::string bytes;
  for (const int32_t token : text) {
    const size_t before = bytes.size();
    bytes += tokenizer.bytes(token);
    bool ends = tokenizer.is_control(token);
    for (const std::string& breaker : dry.breakers)
      for (size_t at = bytes.find(breaker); at != std::string::npos; at = bytes.find(breaker, at + 1))
        ends |= at + breaker.size() > before;
    breaks.push_back(ends);
  }
  return breaks;
}

inline std::map<int32_t, float> dry_penalties(std::vector<int32_t> text, const DryParams& dry,
                                              const Tokenizer& tokenizer) {
  std::map<int32_t, float> penalties;
  if (!dry.active()) return penalties;
  std::vector<bool> breaks = breakers_in(text, dry, tokenizer);
  if (dry.last_n >= 0 && text.size() > static_cast<size_t>(dry.last_n)) {
    const auto drop = static_cast<ptrdiff_t>(text.size()) - dry.last_n;
    text.erase(text.begin(), text.begin() + drop);
    breaks.erase(breaks.begin(), breaks.begin() + drop);
  }
  const auto end = static_cast<int32_t>(text.size());
  for (int32_t j = 0; j + 1 < end; ++j) {
    int32_t length = 0;
    while (length <= j && !breaks[j - length] && text[j - length] == text[end - 1 - length]) ++length;
    if (length < dry.allowed_length || breaks[j + 1]) continue;
    const double power = std::pow(static_cast<double>(dry.base), length - dry.allowed_length);
    const auto loss = static_cast<float>(std::min(static_cast<double>(dry.multiplier) * power, 1e30));
    float& penalty = penalties[text[j + 1]];
    penalty = std::min(penalty, -loss);
  }
  return penalties;
}

// The tokens that would complete a bad word.
inline std::vector<int32_t> bad_tokens(const std::vector<int32_t>& output, const SamplingParams& params) {
  std::vector<int32_t> bad;
  for (const std::vector<int32_t>& word : params.bad_words) {
    const size_t before = word.size() - 1;
    if (output.size() >= before && std::equal(word.begin(), word.end() - 1, output.end() - before))
      bad.push_back(word.back());
  }
  return bad;
}

inline std::optional<int32_t> forced_token(const std::vector<int32_t>& output, const ThinkingLimit& limit) {
  if (!limit.inside && (output.empty() || output[0] != limit.open)) return std::nullopt;
  const std::vector<int32_t> block(output.begin() + (limit.inside ? 0 : 1), output.end());
  const auto most = static_cast<size_t>(limit.max_tokens);
  if (block.size() < most || block.size() - most >= limit.ending.size()) return std::nullopt;
  const auto limit_at = block.begin() + limit.max_tokens;
  if (std::find(block.begin(), limit_at, limit.close) != limit_at) return std::nullopt;
  return limit.ending[block.size() - most];
}

// The tokens that may follow `output`; nothing: all.
inline std::optional<std::vector<int32_t>> opening_tokens(const std::vector<int32_t>& output,
                                                          const std::vector<std::string>& openings,
                                                          const Tokenizer& tokenizer) {
  std::string said;
  const auto fits = [&](const std::string& opening) { return opening.starts_with(said); };
  const auto complete = [&](const std::string& opening) { return said.starts_with(opening); };
  const auto is_free = [&] {
    return std::ranges::any_of(openings, complete) || std::ranges::none_of(openings, fits);
  };
  if (is_free()) return std::nullopt;
  for (const int32_t token : output) {
    said += tokenizer.bytes(token);
    if (is_free()) return std::nullopt;
  }
  std::vector<int32_t> tokens;
  const std::string before = said;
  for (int32_t token = 0; token < tokenizer.size(); ++token) {
    if (tokenizer.is_control(token) || tokenizer.type(token) == TokenType::Unused) continue;
    said = before + std::string(tokenizer.bytes(token));
    const auto goes_along = [&](const std::string& opening) { return fits(opening) || complete(opening); };
    if (std::ranges::any_of(openings, goes_along)) tokens.push_back(token);
  }
  return tokens;
}

inline bool repeats(const std::vector<int32_t>& output, const RepetitionLimit& limit) {
  for (int32_t size = limit.min_pattern; size <= limit.max_pattern; ++size) {
    const auto total = static_cast<size_t>(size * limit.min_count);
    if (output.size() < total) continue;
    bool same = true;
    for (size_t i = output.size() - total + size; i < output.size(); ++i)
      same &= output[i] == output[i - size];
    if (same) return true;
  }
  return false;
}

}  // namespace qwend::test
