#include "server/openai/generation_request.h"

#include <algorithm>
#include <limits>

#include "server/json/json_writer.h"
#include "server/openai/ids.h"

namespace qwend {
namespace {

// A word stands at the beginning of the text or after a blank, and is other tokens there.
std::vector<std::vector<int32_t>> encode_words(const Tokenizer& tokenizer,
                                               const std::vector<std::string>& words) {
  std::vector<std::vector<int32_t>> encoded;
  for (const std::string& word : words) {
    for (const std::string& text : {word, " " + word}) {
      std::vector<int32_t> tokens = tokenizer.encode(text, Specials::None);
      if (!tokens.empty()) encoded.push_back(std::move(tokens));
    }
  }
  return encoded;
}

// Rows of the embedding that no text belongs to are never drawn.
Problem check_allowed_tokens(const GenerationParams& params, const Tokenizer& tokenizer) {
  const std::vector<int32_t>& ids = params.allowed_token_ids;
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] >= tokenizer.size() || tokenizer.type(ids[i]) == TokenType::Unused)
      return invalid_value(at("allowed_token_ids", i), "is a token without text");
  return std::nullopt;
}

SamplingParams resolve_sampling(const GenerationParams& params, const App& app) {
  SamplingParams sampling = app.sampling_defaults_openai ? SamplingParams{} : app.model.default_sampling;
  const auto take = [](const auto& given, auto& target) {
    if (given) target = *given;
  };
  take(params.temperature, sampling.temperature);
  take(params.top_p, sampling.top_p);
  take(params.min_p, sampling.min_p);
  take(params.typical_p, sampling.typical_p);
  take(params.xtc_probability, sampling.xtc_probability);
  take(params.xtc_threshold, sampling.xtc_threshold);
  take(params.repetition_penalty, sampling.repetition_penalty);
  take(params.presence_penalty, sampling.presence_penalty);
  take(params.frequency_penalty, sampling.frequency_penalty);
  take(params.top_k, sampling.top_k);
  sampling.top_k = std::max(sampling.top_k, 0);  // -1 is another spelling of off
  // 0 is allowed by the schema and means: as few candidates as there can be.
  sampling.top_p = std::max(sampling.top_p, std::numeric_limits<float>::min());
  sampling.typical_p = std::max(sampling.typical_p, std::numeric_limits<float>::min());
  sampling.dry = params.dry;
  sampling.seed = params.seed;
  sampling.logit_bias = params.logit_bias;
  sampling.bad_words = encode_words(*app.tokenizer, params.bad_words);
  sampling.allowed_tokens = params.allowed_token_ids;
  sampling.num_logprobs = params.num_logprobs;
  sampling.logprob_tokens = params.logprob_token_ids;
  return sampling;
}

Clock::time_point deadline_after(const std::optional<int32_t>& asked, int limit_ms) {
  return Clock::now() + std::chrono::milliseconds(std::min(asked.value_or(limit_ms), limit_ms));
}

// Who may share cached prefixes with whom. 0: requests without a key and without a salt.
uint64_t salt_of(const GenerationParams& params, std::string_view key_name) {
  if (key_name.empty() && params.cache_salt.empty() && params.prompt_cache_key.empty()) return 0;
  std::string text(key_name);
  text.append(1, '\0').append(params.cache_salt).append(1, '\0').append(params.prompt_cache_key);
  return hash64(text);
}

// The model's context, or what the KV cache holds where that is less.
int64_t longest_context(const App& app) {
  const EngineConfig& config = app.engine.config();
  return std::min<int64_t>(app.model.max_model_len, int64_t{config.num_kv_blocks} * config.block_size);
}

// What fits leaves room for max_tokens, or for one.
void truncate(const GenerationParams& params, int64_t context, std::vector<int32_t>& prompt) {
  if (!params.truncate_prompt_tokens) return;
  const int64_t fits = std::max<int64_t>(context - std::max(params.max_tokens.value_or(1), 1), 1);
  const int64_t asked = *params.truncate_prompt_tokens;
  const auto keep = static_cast<size_t>(asked < 0 ? fits : asked);
  if (prompt.size() > keep) prompt.erase(prompt.begin(), prompt.end() - static_cast<ptrdiff_t>(keep));
}

}  // namespace

Result<GenerationRequest, ApiError> to_generation_request(const GenerationParams& params,
                                                          std::vector<int32_t> prompt, const App& app,
                                                          std::string_view key_name,
                                                          std::string_view prompt_param) {
  if (Problem problem = check_allowed_tokens(params, *app.tokenizer)) return *problem;
  const int64_t context = longest_context(app);
  truncate(params, context, prompt);
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  const int64_t left = context - prompt_tokens;
  if (left < (params.max_tokens == 0 ? 0 : 1))
    return context_length_exceeded(prompt_param, prompt_tokens, context);

  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling = resolve_sampling(params, app);
  request.n = params.n;
  request.stop.max_tokens = static_cast<int32_t>(std::min<int64_t>(params.max_tokens.value_or(left), left));
  request.stop.min_tokens = std::min(params.min_tokens, request.stop.max_tokens);
  request.stop.ignore_eos = params.ignore_eos;
  request.stop.stop_token_ids = params.stop_token_ids;
  request.stop.stop = params.stop;
  request.stop.include_stop_in_output = params.include_stop;
  request.stop.repetition = params.repetition;
  request.keep_control_tokens = !params.skip_special_tokens;
  request.use_prefix_cache = params.cache_prompt;
  request.cache_salt = salt_of(params, key_name);
  request.priority = params.priority;
  request.deadline = deadline_after(params.timeout_ms, app.request_timeout_ms);
  request.queue_deadline = deadline_after(params.queue_timeout_ms, app.queue_timeout_ms);
  return request;
}

std::string params_to_json(const GenerationRequest& request) {
  const SamplingParams& s = request.sampling;
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object()
      .member("temperature", s.temperature)
      .member("top_k", s.top_k)
      .member("top_p", s.top_p)
      .member("min_p", s.min_p)
      .member("typical_p", s.typical_p)
      .member("xtc_probability", s.xtc_probability)
      .member("xtc_threshold", s.xtc_threshold)
      .member("dry_multiplier", s.dry.multiplier)
      .member("dry_base", s.dry.base)
      .member("dry_allowed_length", s.dry.allowed_length)
      .member("dry_penalty_last_n", s.dry.last_n)
      .member("repetition_penalty", s.repetition_penalty)
      .member("presence_penalty", s.presence_penalty)
      .member("frequency_penalty", s.frequency_penalty)
      .member("max_tokens", request.stop.max_tokens)
      .member("min_tokens", request.stop.min_tokens)
      .member("ignore_eos", request.stop.ignore_eos)
      .member("n", request.n);
  if (request.thinking) writer.member("thinking_token_budget", request.thinking->max_tokens);
  s.seed ? writer.member("seed", *s.seed) : writer.key("seed").null();
  writer.end_object();
  return out;
}

}  // namespace qwend
