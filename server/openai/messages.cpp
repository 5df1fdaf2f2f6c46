#include "server/openai/messages.h"

#include "server/json/json_reader.h"
#include "server/openai/content_parts.h"

namespace qwend {
namespace {

// Refusals occur in assistant messages.
constexpr TextPart kParts[] = {{"text", "text"}, {"refusal", "refusal"}};

// Clients send arguments as a string of JSON; some send the object itself.
Result<ToolCall, ApiError> parse_tool_call(const Value& value, const std::string& path) {
  if (auto object = read_object(value, path); !object) return object.error();
  ToolCall call;
  if (const Value* id = find_present(value, "id")) {
    auto text = read_string(*id, at(path, "id"));
    if (!text) return text.error();
    call.id = std::move(text).value();
  }
  if (const Value* type = find_present(value, "type")) {
    static constexpr std::string_view kTypes[] = {"function"};
    if (auto kind = read_choice(*type, kTypes, at(path, "type")); !kind) return kind.error();
  }
  auto name = read_function_name(value, path);
  if (!name) return name.error();
  const std::string function_path = at(path, "function");
  if (name.value().empty()) return invalid_value(at(function_path, "name"), "must not be empty");
  call.name = std::move(name).value();

  const Value* arguments = find_present(*find_present(value, "function"), "arguments");
  if (arguments == nullptr) {
    call.arguments = Value{ValueObject{}};
    call.arguments_text = "{}";
  } else if (std::holds_alternative<ValueObject>(arguments->data)) {
    call.arguments = *arguments;
    call.arguments_text = to_python_json(*arguments);
  } else {
    auto text = read_string(*arguments, at(function_path, "arguments"));
    if (!text) return text.error();
    set_arguments(call, std::move(text).value());
  }
  return call;
}

Problem parse_assistant(const Value& value, const std::string& path, ChatMessage& message) {
  for (const std::string_view key : {"reasoning", "reasoning_content"}) {
    const Value* reasoning = find_present(value, key);
    if (reasoning == nullptr) continue;
    auto text = read_string(*reasoning, at(path, key));
    if (!text) return text.error();
    message.reasoning = std::move(text).value();
  }
  if (const Value* calls = find_present(value, "tool_calls")) {
    auto list = read_array(*calls, at(path, "tool_calls"));
    if (!list) return list.error();
    for (size_t i = 0; i < list.value()->size(); ++i) {
      auto call = parse_tool_call((*list.value())[i], at(at(path, "tool_calls"), i));
      if (!call) return call.error();
      message.tool_calls.push_back(std::move(call).value());
    }
  }
  if (find_present(value, "function_call") != nullptr)
    return unsupported(at(path, "function_call"), "deprecated; use tool_calls");
  return std::nullopt;
}

Problem parse_tool_result(const Value& value, const std::string& path, ChatMessage& message) {
  const Value* id = find_present(value, "tool_call_id");
  if (id == nullptr) return missing_parameter(at(path, "tool_call_id"));
  auto text = read_string(*id, at(path, "tool_call_id"));
  if (!text) return text.error();
  message.tool_call_id = std::move(text).value();
  return std::nullopt;
}

Result<ChatMessage, ApiError> parse_message(const Value& value, const std::string& path) {
  if (auto object = read_object(value, path); !object) return object.error();
  const Value* role = find_present(value, "role");
  if (role == nullptr) return missing_parameter(at(path, "role"));
  static constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};
  auto role_name = read_choice(*role, kRoles, at(path, "role"));
  if (!role_name) return role_name.error();

  ChatMessage message;
  message.role = role_name.value() == "developer" ? "system" : role_name.value();
  if (const Value* name = find_present(value, "name"))
    if (auto text = read_string(*name, at(path, "name")); !text) return text.error();
  if (message.role == "assistant")
    if (Problem problem = parse_assistant(value, path, message)) return *problem;
  if (message.role == "tool")
    if (Problem problem = parse_tool_result(value, path, message)) return *problem;

  const Value* content = find_present(value, "content");
  if (content == nullptr) {
    const bool may_lack = message.role == "assistant" && (!message.tool_calls.empty() || message.reasoning ||
                                                          find_present(value, "refusal") != nullptr);
    if (!may_lack) return missing_parameter(at(path, "content"));
    return message;
  }
  auto text = read_text_content(*content, at(path, "content"), kParts);
  if (!text) return text.error();
  message.content = std::move(text).value();
  return message;
}

}  // namespace

void set_arguments(ToolCall& call, std::string text) {
  call.arguments_text = std::move(text);
  auto parsed = json::parse(call.arguments_text);
  const bool is_object = parsed && std::holds_alternative<ValueObject>(parsed.value().data);
  call.arguments = is_object ? std::move(parsed).value() : Value{call.arguments_text};
}

Result<std::vector<ChatMessage>, ApiError> parse_messages(const Value& value) {
  auto list = read_array(value, "messages");
  if (!list) return list.error();
  if (list.value()->empty()) return invalid_value("messages", "must have at least one message");
  std::vector<ChatMessage> messages;
  messages.reserve(list.value()->size());
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto message = parse_message((*list.value())[i], at("messages", i));
    if (!message) return message.error();
    messages.push_back(std::move(message).value());
  }
  return messages;
}

}  // namespace qwend
