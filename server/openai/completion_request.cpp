#include "server/openai/completion_request.h"

namespace qwend {
namespace {

constexpr int32_t kDefaultMaxTokens = 16;  // OpenAI's default for this endpoint

Problem check_known(const Value& body) {
  for (const auto& [key, value] : std::get<ValueObject>(body.data))
    if (key != "prompt" && !has_field(generation_fields(), key) && !has_field(completion_fields(), key))
      return unknown_parameter(key);
  return std::nullopt;
}

Problem apply_completion_fields(const Value& body, const ParseContext& context, CompletionRequest& request) {
  CompletionFields fields;
  if (Problem problem = apply_fields(completion_fields(), body, fields, context)) return problem;
  if (fields.best_of && *fields.best_of < request.params.n)
    return invalid_value("best_of", "must not be below n");
  if (fields.best_of && *fields.best_of > request.params.n)
    return unsupported("best_of", "more candidates than n are not supported by this server");
  if (fields.echo && !fields.suffix.empty()) return invalid_value("echo", "can't be combined with suffix");
  if (!fields.add_special_tokens)
    return unsupported("add_special_tokens", "send token ids to decide about special tokens");
  request.params.num_logprobs = fields.logprobs.value_or(-1);
  request.echo = fields.echo;
  request.suffix = std::move(fields.suffix);
  return std::nullopt;
}

Problem check_totals(CompletionRequest& request) {
  GenerationParams& params = request.params;
  if (static_cast<int64_t>(request.prompts.size()) * params.n > kMaxTotalChoices)
    return invalid_value("prompt",
                         "times n must not be more than " + std::to_string(kMaxTotalChoices) + " choices");
  if (!params.max_tokens) params.max_tokens = kDefaultMaxTokens;
  if (*params.max_tokens == 0 && !request.echo)
    return invalid_value("max_tokens", "must be at least 1 without echo");
  return check_generation_params(params);
}

}  // namespace

std::span<const Field<CompletionFields>> completion_fields() {
  static const std::vector<Field<CompletionFields>> table = {
      integer_field("logprobs", 0, 5, &CompletionFields::logprobs),
      integer_field("best_of", 1, kMaxChoices, &CompletionFields::best_of),
      bool_field("echo", &CompletionFields::echo),
      bool_field("add_special_tokens", &CompletionFields::add_special_tokens),
      string_field("suffix", &CompletionFields::suffix),
  };
  return table;
}

Result<CompletionRequest, ApiError> parse_completion_request(const Value& body, const ParseContext& context) {
  CompletionRequest request;
  if (context.strict_params)
    if (Problem problem = check_known(body)) return *problem;
  const Value* prompt = find_present(body, "prompt");
  if (prompt == nullptr) return missing_parameter("prompt");
  if (Problem problem = apply_fields(generation_fields(), body, request.params, context)) return *problem;
  if (Problem problem = apply_completion_fields(body, context, request)) return *problem;
  auto prompts = read_prompts(*prompt, "prompt", context);
  if (!prompts) return prompts.error();
  request.prompts = std::move(prompts).value();
  if (Problem problem = check_totals(request)) return *problem;
  return request;
}

}  // namespace qwend
