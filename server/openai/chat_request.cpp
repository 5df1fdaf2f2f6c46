#include "server/openai/chat_request.h"

#include <limits>

#include "server/openai/messages.h"

namespace qwend {
namespace {

Problem apply_template_kwargs(const Value& value, ChatFields& fields, const ParseContext&) {
  auto object = read_object(value, "chat_template_kwargs");
  if (!object) return object.error();
  for (const auto& [key, entry] : *object.value()) {
    const std::string path = at("chat_template_kwargs", key);
    if (key != "enable_thinking" && key != "preserve_thinking" && key != "add_generation_prompt")
      return invalid_value(path, "is not a template option of this server");
    if (is_null(entry)) continue;
    auto flag = read_bool(entry, path);
    if (!flag) return flag.error();
    if (key == "enable_thinking") fields.enable_thinking = flag.value();
    if (key == "preserve_thinking") fields.preserve_thinking = flag.value();
    if (key == "add_generation_prompt") fields.add_generation_prompt = flag.value();
  }
  return std::nullopt;
}

constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};

Problem apply_reasoning_effort(const Value& value, ChatFields& fields, const ParseContext&) {
  auto effort = read_choice(value, kEfforts, "reasoning_effort");
  if (!effort) return effort.error();
  fields.reasoning_effort = std::move(effort).value();
  return std::nullopt;
}

Problem apply_modalities(const Value& value, ChatFields&, const ParseContext&) {
  auto list = read_array(value, "modalities");
  if (!list) return list.error();
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto modality = read_string((*list.value())[i], at("modalities", i));
    if (!modality) return modality.error();
    if (modality.value() != "text")
      return unsupported(at("modalities", i), "this server answers with text only");
  }
  return std::nullopt;
}

Problem check_known(const Value& body) {
  for (const auto& [key, value] : std::get<ValueObject>(body.data)) {
    if (key == "messages" || key == "tools" || key == "tool_choice") continue;
    if (!has_field(generation_fields(), key) && !has_field(chat_fields(), key)) return unknown_parameter(key);
  }
  return std::nullopt;
}

Result<std::vector<ChatMessage>, ApiError> read_messages(const Value& body) {
  const Value* messages = find_present(body, "messages");
  if (messages == nullptr) return missing_parameter("messages");
  return parse_messages(*messages);
}

// Precondition: request.messages are there.
Problem apply_prompt_parts(const Value& body, const ChatFields& fields, ChatRequest& request) {
  auto tools = parse_tools(find_present(body, "tools"), find_present(body, "tool_choice"));
  if (!tools) return tools.error();
  request.tools = std::move(tools).value();

  ChatTemplateOptions& options = request.template_options;
  options.continue_final_message = fields.continue_final_message;
  options.add_generation_prompt = fields.add_generation_prompt.value_or(!fields.continue_final_message);
  if (options.continue_final_message && options.add_generation_prompt)
    return invalid_value("continue_final_message", "and add_generation_prompt can't both be true");
  const bool ends_with_assistant = !request.messages.empty() && request.messages.back().role == "assistant";
  if (options.continue_final_message && !ends_with_assistant)
    return invalid_value("continue_final_message", "needs an assistant message at the end of messages");
  options.preserve_thinking = fields.preserve_thinking;
  options.enable_thinking = fields.enable_thinking;
  const std::string& effort = fields.reasoning_effort;
  if (!options.enable_thinking && !effort.empty() && effort != "minimal")
    options.enable_thinking = effort != "none";
  return std::nullopt;
}

Problem apply_chat_fields(const Value& body, const ParseContext& context, ChatRequest& request) {
  ChatFields fields;
  if (Problem problem = apply_fields(chat_fields(), body, fields, context)) return problem;
  if (fields.top_logprobs && !fields.logprobs)
    return invalid_value("top_logprobs", "needs logprobs to be true");
  if (fields.logprobs) request.params.num_logprobs = fields.top_logprobs.value_or(0);
  request.parallel_tool_calls = fields.parallel_tool_calls;
  if (fields.thinking_token_budget && *fields.thinking_token_budget >= 0)
    request.thinking_token_budget = fields.thinking_token_budget;
  return apply_prompt_parts(body, fields, request);
}

}  // namespace

std::span<const Field<ChatFields>> chat_fields() {
  static const std::vector<Field<ChatFields>> table = {
      bool_field("logprobs", &ChatFields::logprobs),
      integer_field("top_logprobs", 0, 20, &ChatFields::top_logprobs),
      bool_field("parallel_tool_calls", &ChatFields::parallel_tool_calls),
      bool_field("continue_final_message", &ChatFields::continue_final_message),
      bool_field("add_generation_prompt", &ChatFields::add_generation_prompt),
      {"chat_template_kwargs", apply_template_kwargs,
       R"({"type":"object","properties":{"enable_thinking":{"type":"boolean"},)"
       R"("preserve_thinking":{"type":"boolean"},"add_generation_prompt":{"type":"boolean"}},)"
       R"("additionalProperties":false})"},
      bool_field("enable_thinking", &ChatFields::enable_thinking),
      integer_field("thinking_token_budget", -1, std::numeric_limits<int32_t>::max(),
                    &ChatFields::thinking_token_budget),
      {"reasoning_effort", apply_reasoning_effort, choice_schema(kEfforts)},
      {"modalities", apply_modalities, R"({"type":"array","items":{"type":"string","enum":["text"]}})"},
      unsupported_field<ChatFields>("chat_template", "templates are taken from the model file only"),
      unsupported_field<ChatFields>("functions", "deprecated; use tools"),
      unsupported_field<ChatFields>("function_call", "deprecated; use tool_choice"),
      unsupported_field<ChatFields>("audio"),
      unsupported_field<ChatFields>("web_search_options"),
  };
  return table;
}

Result<ChatRequest, ApiError> parse_chat_request(const Value& body, std::vector<ChatMessage> messages,
                                                 const ParseContext& context) {
  ChatRequest request;
  request.messages = std::move(messages);
  if (context.strict_params)
    if (Problem problem = check_known(body)) return *problem;
  if (Problem problem = apply_fields(generation_fields(), body, request.params, context)) return *problem;
  if (request.params.max_tokens == 0) return invalid_value("max_tokens", "must be at least 1");
  if (Problem problem = apply_chat_fields(body, context, request)) return *problem;
  if (Problem problem = check_generation_params(request.params)) return *problem;
  return request;
}

Result<ChatRequest, ApiError> parse_chat_request(const Value& body, const ParseContext& context) {
  auto messages = read_messages(body);
  if (!messages) return messages.error();
  return parse_chat_request(body, std::move(messages).value(), context);
}

Result<ChatRequest, ApiError> parse_chat_prompt(const Value& body) {
  auto messages = read_messages(body);
  if (!messages) return messages.error();
  ChatRequest request;
  request.messages = std::move(messages).value();
  if (Problem problem = apply_chat_fields(body, ParseContext{}, request)) return *problem;
  return request;
}

}  // namespace qwend
