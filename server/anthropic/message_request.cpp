#include "server/anthropic/message_request.h"

#include <limits>

#include "server/anthropic/message_input.h"

namespace qwend {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
constexpr std::string_view kEfforts[] = {"low", "medium", "high", "xhigh", "max"};

Problem read_elsewhere(const Value&, MessageFields&, const ParseContext&) { return std::nullopt; }

Problem apply_thinking(const Value& value, MessageFields& fields, const ParseContext&) {
  if (auto object = read_object(value, "thinking"); !object) return object.error();
  const Value* type = find_present(value, "type");
  if (type == nullptr) return missing_parameter("thinking.type");
  static constexpr std::string_view kTypes[] = {"enabled", "disabled", "adaptive"};
  auto chosen = read_choice(*type, kTypes, "thinking.type");
  if (!chosen) return chosen.error();
  fields.enable_thinking = chosen.value() != "disabled";
  const Value* budget = find_present(value, "budget_tokens");
  if (budget == nullptr) return std::nullopt;
  auto tokens = read_integer(*budget, 1, kInt32Max, "thinking.budget_tokens");
  if (!tokens) return tokens.error();
  if (chosen.value() == "enabled") fields.thinking_budget = static_cast<int32_t>(tokens.value());
  return std::nullopt;
}

Problem apply_output_config(const Value& value, MessageFields& fields, const ParseContext&) {
  if (auto object = read_object(value, "output_config"); !object) return object.error();
  if (const Value* effort = find_present(value, "effort")) {
    auto chosen = read_choice(*effort, kEfforts, "output_config.effort");
    if (!chosen) return chosen.error();
    fields.effort = std::move(chosen).value();
  }
  fields.format = find_present(value, "format");
  if (fields.format == nullptr) return std::nullopt;
  auto object = read_object(*fields.format, "output_config.format");
  return object ? Problem{} : Problem{object.error()};
}

Result<std::string, ApiError> service_tier(const Value& value, std::string path) {
  static constexpr std::string_view kTiers[] = {"auto", "standard_only"};
  return read_choice(value, kTiers, std::move(path));
}

bool is_typed(const Value& value, std::string_view type) {
  const Value* given = value.find("type");
  return given != nullptr && *given == Value{std::string(type)};
}

Value object(ValueObject members) { return Value{std::move(members)}; }
Value text(std::string_view words) { return Value{std::string(words)}; }

// ---- from this dialect's shapes to chat's

// {"name","description","input_schema"} -> {"type":"function","function":{"name","description","parameters"}}
Result<Value, ApiError> chat_tool(const Value& tool, const std::string& path) {
  if (auto read = read_object(tool, path); !read) return read.error();
  if (const Value* type = find_present(tool, "type")) {
    auto name = read_string(*type, at(path, "type"));
    if (!name) return name.error();
    if (name.value() != "custom")
      return unsupported(at(path, "type"),
                         "tools of type '" + name.value() + "' are not supported by this server");
  }
  ValueObject function;
  for (const std::string_view key : {"name", "description", "input_schema"})
    if (const Value* value = find_present(tool, key))
      function.emplace_back(key == "input_schema" ? "parameters" : std::string(key), *value);
  return object({{"type", text("function")}, {"function", object(std::move(function))}});
}

Result<Value, ApiError> chat_tools(const Value& tools) {
  auto list = read_array(tools, "tools");
  if (!list) return list.error();
  ValueArray chat;
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto tool = chat_tool((*list.value())[i], at("tools", i));
    if (!tool) return tool;
    chat.push_back(std::move(tool).value());
  }
  return Value{std::move(chat)};
}

// The choice, and whether calls may be parallel.
Problem add_tool_choice(const Value& choice, ValueObject& chat) {
  if (auto read = read_object(choice, "tool_choice"); !read) return read.error();
  const Value* type = find_present(choice, "type");
  if (type == nullptr) return missing_parameter("tool_choice.type");
  static constexpr std::string_view kTypes[] = {"auto", "any", "tool", "none"};
  auto chosen = read_choice(*type, kTypes, "tool_choice.type");
  if (!chosen) return chosen.error();
  if (chosen.value() == "tool") {
    const Value* name = find_present(choice, "name");
    if (name == nullptr) return missing_parameter("tool_choice.name");
    chat.emplace_back("tool_choice",
                      object({{"type", text("function")}, {"function", object({{"name", *name}})}}));
  } else {
    chat.emplace_back("tool_choice", text(chosen.value() == "any" ? "required" : chosen.value()));
  }
  const Value* one = find_present(choice, "disable_parallel_tool_use");
  if (one == nullptr) return std::nullopt;
  auto flag = read_bool(*one, "tool_choice.disable_parallel_tool_use");
  if (!flag) return flag.error();
  chat.emplace_back("parallel_tool_calls", Value{!flag.value()});
  return std::nullopt;
}

Value chat_format(const Value& format) {
  if (!is_typed(format, "json_schema")) return format;
  ValueObject schema{{"name", text("output")}};
  if (const Value* given = find_present(format, "schema")) schema.emplace_back("schema", *given);
  return object({{"type", text("json_schema")}, {"json_schema", object(std::move(schema))}});
}

// The body that asks chat for the same, less the messages.
Result<Value, ApiError> chat_body(const Value& body, const MessageFields& fields, bool continues) {
  ValueObject chat;
  for (const auto& [key, value] : std::get<ValueObject>(body.data))
    if (!has_field(message_fields(), key)) chat.emplace_back(key, value);
  if (const Value* stop = find_present(body, "stop_sequences")) chat.emplace_back("stop", *stop);
  if (const Value* tools = find_present(body, "tools")) {
    auto list = chat_tools(*tools);
    if (!list) return list.error();
    chat.emplace_back("tools", std::move(list).value());
  }
  if (const Value* choice = find_present(body, "tool_choice"))
    if (Problem problem = add_tool_choice(*choice, chat)) return *problem;
  if (fields.format != nullptr) chat.emplace_back("response_format", chat_format(*fields.format));
  if (!fields.effort.empty()) chat.emplace_back("reasoning_effort", text(fields.effort));
  chat.emplace_back("enable_thinking", Value{fields.enable_thinking.value_or(false)});
  if (fields.thinking_budget)
    chat.emplace_back("thinking_token_budget", Value{int64_t{*fields.thinking_budget}});
  if (continues) chat.emplace_back("continue_final_message", Value{true});
  return Value{std::move(chat)};
}

constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {".function.parameters", ".input_schema"},
    {".function", ""},
    {"response_format.json_schema", "output_config.format"},
    {"response_format", "output_config.format"},
    {"reasoning_effort", "output_config.effort"},
    {"thinking_token_budget", "thinking.budget_tokens"},
    {"stop", "stop_sequences"},
};

}  // namespace

std::span<const Field<MessageFields>> message_fields() {
  using F = MessageFields;
  static const std::vector<Field<F>> table = {
      {"messages", read_elsewhere, R"({"type":"array","minItems":1,"items":{"type":"object"}})"},
      {"system", read_elsewhere,
       R"({"oneOf":[{"type":"string"},{"type":"array","items":{"type":"object"}}]})"},
      {"tools", read_elsewhere, R"({"type":"array","items":{"type":"object"}})"},
      {"tool_choice", read_elsewhere, kObjectSchema},
      {"stop_sequences", read_elsewhere, kStringsSchema},
      {"thinking", apply_thinking,
       R"({"type":"object","properties":{"type":{"type":"string","enum":["enabled","disabled","adaptive"]},)"
       R"("budget_tokens":{"type":"integer","minimum":1}},"required":["type"]})"},
      {"output_config", apply_output_config,
       R"({"type":"object","properties":{"effort":)" + choice_schema(kEfforts) + "}}"},
      // fine, and without effect on the answer
      checked_field<F>("metadata", kObjectSchema, read_object),
      checked_field<F>("service_tier", kStringSchema, service_tier),
      checked_field<F>("cache_control", kObjectSchema, read_object),
      // would change the answer
      neutral_field<F>("n", 1),
      unsupported_field<F>("container"),
      unsupported_field<F>("mcp_servers"),
  };
  return table;
}

Result<ChatRequest, ApiError> parse_message_request(const Value& body, const ParseContext& context) {
  MessageFields fields;
  if (Problem problem = apply_fields(message_fields(), body, fields, context)) return *problem;
  const Value* input = find_present(body, "messages");
  if (input == nullptr) return missing_parameter("messages");
  auto messages = parse_message_input(*input, find_present(body, "system"));
  if (!messages) return messages.error();
  auto translated = chat_body(body, fields, messages.value().back().role == "assistant");
  if (!translated) return translated.error();
  auto chat = parse_chat_request(translated.value(), std::move(messages).value(), context);
  if (!chat) return renamed(chat.error(), kNames);
  return chat;
}

}  // namespace qwend
