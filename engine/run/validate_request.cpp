#include "engine/run/validate_request.h"

#include <algorithm>
#include <cmath>

namespace qwend {
namespace {

using Kind = SubmitError::Kind;

// Written so that NaN fails too.
bool within(float value, float low, float high) { return value >= low && value <= high; }

std::string check_sampling(const SamplingParams& p, int32_t vocab_size) {
  if (!within(p.temperature, 0.0f, 1e6f)) return "temperature must be a number >= 0";
  if (p.top_k < 0) return "top_k must be >= 0";
  if (!(p.top_p > 0.0f && p.top_p <= 1.0f)) return "top_p must be in (0, 1]";
  if (!(p.typical_p > 0.0f && p.typical_p <= 1.0f)) return "typical_p must be in (0, 1]";
  if (!within(p.min_p, 0.0f, 1.0f)) return "min_p must be in [0, 1]";
  if (!(p.repetition_penalty > 0.0f) || !std::isfinite(p.repetition_penalty))
    return "repetition_penalty must be > 0";
  if (!std::isfinite(p.presence_penalty)) return "presence_penalty must be finite";
  if (!std::isfinite(p.frequency_penalty)) return "frequency_penalty must be finite";
  if (!within(p.xtc_probability, 0.0f, 1.0f)) return "xtc_probability must be in [0, 1]";
  if (!within(p.xtc_threshold, 0.0f, 1.0f)) return "xtc_threshold must be in [0, 1]";
  if (!within(p.dry.multiplier, 0.0f, 1e6f)) return "the DRY multiplier must be a number >= 0";
  if (!within(p.dry.base, 1.0f, 1e6f)) return "the DRY base must be a number >= 1";
  if (p.dry.allowed_length < 1 || p.dry.last_n < -1) return "DRY lengths must be > 0";
  if (std::ranges::any_of(p.dry.breakers, &std::string::empty)) return "DRY breakers must not be empty";
  const auto known = [&](int32_t token) { return token >= 0 && token < vocab_size; };
  for (const std::vector<int32_t>& word : p.bad_words) {
    if (word.empty() || !std::ranges::all_of(word, known)) return "a bad word has no tokens, or unknown ones";
  }
  if (!std::ranges::all_of(p.allowed_tokens, known)) return "allowed_tokens names an unknown token";
  if (!std::ranges::all_of(p.logprob_tokens, known)) return "logprob_tokens names an unknown token";
  if (p.num_logprobs < -1 || p.num_logprobs > vocab_size)
    return "num_logprobs must be in [-1, vocabulary size]";
  for (const auto& [token, bias] : p.logit_bias) {
    if (token < 0 || token >= vocab_size) return "logit_bias names token " + std::to_string(token);
    if (std::isnan(bias)) return "logit_bias must be a number";
  }
  return {};
}

std::string check_stop(const StopCriteria& stop, bool prompt_only, int32_t vocab_size) {
  if (stop.max_tokens < 0 || (stop.max_tokens == 0 && !prompt_only)) return "max_tokens must be > 0";
  if (stop.min_tokens < 0) return "min_tokens must be >= 0";
  for (const int32_t token : stop.stop_token_ids) {
    if (token < 0 || token >= vocab_size) return "stop_token_ids names token " + std::to_string(token);
  }
  if (std::ranges::any_of(stop.stop, &std::string::empty)) return "stop strings must not be empty";
  const RepetitionLimit& repetition = stop.repetition;
  if (repetition.max_pattern < 0 || repetition.min_pattern < 1 || repetition.min_count < 2)
    return "a repetition is at least two patterns of at least one token";
  return {};
}

std::string check_request(const GenerationRequest& request, int32_t vocab_size) {
  if (request.prompt.empty()) return "the prompt has no tokens";
  const auto known = [&](int32_t token) { return token >= 0 && token < vocab_size; };
  const auto unknown = std::ranges::find_if_not(request.prompt, known);
  if (unknown != request.prompt.end()) return "the prompt has the unknown token " + std::to_string(*unknown);
  if (request.n < 1) return "n must be > 0";
  if (request.prompt_logprobs < -1 || request.prompt_logprobs > vocab_size) {
    return "prompt_logprobs must be in [-1, vocabulary size]";
  }
  if (std::ranges::any_of(request.openings, &std::string::empty)) return "an opening must not be empty";
  if (request.pooled && (request.n != 1 || request.stop.max_tokens != 0))
    return "a pooled request generates nothing";
  const bool prompt_only = request.pooled || request.prompt_logprobs >= 0;
  const std::string sampling = check_sampling(request.sampling, vocab_size);
  return !sampling.empty() ? sampling : check_stop(request.stop, prompt_only, vocab_size);
}

}  // namespace

std::optional<SubmitError> validate_request(const GenerationRequest& request, const EngineConfig& config,
                                            int32_t vocab_size) {
  std::string invalid = check_request(request, vocab_size);
  if (!invalid.empty()) return SubmitError{Kind::Invalid, std::move(invalid)};

  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t generated = request.stop.max_tokens;
  if (prompt + (generated > 0) > config.max_model_len) {
    return SubmitError{Kind::PromptTooLong, "the prompt has " + std::to_string(prompt) +
                                                " tokens; prompt and output together may have " +
                                                std::to_string(config.max_model_len)};
  }
  // The last token generated is never computed, so it needs no place.
  const int64_t longest = std::min<int64_t>(prompt + generated, config.max_model_len) - (generated > 0);
  const int64_t capacity = static_cast<int64_t>(config.num_kv_blocks) * config.block_size;
  if (longest > capacity) {
    return SubmitError{Kind::NeverFits, "prompt and max_tokens need room for " + std::to_string(longest) +
                                            " tokens; the KV cache has " + std::to_string(capacity)};
  }
  return std::nullopt;
}

}  // namespace qwend
