#include "server/openai/generation_request.h"

#include <algorithm>
#include <limits>

#include "server/json/json_writer.h"
#include "server/openai/ids.h"

namespace qwend {
namespace {

SamplingParams resolve_sampling(const GenerationParams& params, const App& app) {
  SamplingParams sampling = app.sampling_defaults_openai ? SamplingParams{} : app.model.default_sampling;
  const auto take = [](const auto& given, auto& target) {
    if (given) target = *given;
  };
  take(params.temperature, sampling.temperature);
  take(params.top_p, sampling.top_p);
  take(params.min_p, sampling.min_p);
  take(params.typical_p, sampling.typical_p);
  take(params.repetition_penalty, sampling.repetition_penalty);
  take(params.presence_penalty, sampling.presence_penalty);
  take(params.frequency_penalty, sampling.frequency_penalty);
  take(params.top_k, sampling.top_k);
  sampling.top_k = std::max(sampling.top_k, 0);  // -1 is another spelling of off
  // 0 is allowed by the schema and means: as few candidates as there can be.
  sampling.top_p = std::max(sampling.top_p, std::numeric_limits<float>::min());
  sampling.typical_p = std::max(sampling.typical_p, std::numeric_limits<float>::min());
  sampling.seed = params.seed;
  sampling.logit_bias = params.logit_bias;
  sampling.num_logprobs = params.num_logprobs;
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

}  // namespace

Result<GenerationRequest, ApiError> to_generation_request(const GenerationParams& params,
                                                          std::vector<int32_t> prompt, const App& app,
                                                          std::string_view key_name,
                                                          std::string_view prompt_param) {
  const auto keep =
      static_cast<size_t>(params.truncate_prompt_tokens.value_or(std::numeric_limits<int32_t>::max()));
  if (prompt.size() > keep) prompt.erase(prompt.begin(), prompt.end() - static_cast<ptrdiff_t>(keep));
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  const int64_t context = longest_context(app);
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
      .member("repetition_penalty", s.repetition_penalty)
      .member("presence_penalty", s.presence_penalty)
      .member("frequency_penalty", s.frequency_penalty)
      .member("max_tokens", request.stop.max_tokens)
      .member("min_tokens", request.stop.min_tokens)
      .member("ignore_eos", request.stop.ignore_eos)
      .member("n", request.n);
  s.seed ? writer.member("seed", *s.seed) : writer.key("seed").null();
  writer.end_object();
  return out;
}

}  // namespace qwend
