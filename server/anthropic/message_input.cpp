#include "server/anthropic/message_input.h"

#include "server/openai/content_parts.h"

namespace qwend {
namespace {

constexpr TextPart kText[] = {{"text", "text"}};
constexpr TextPart kThinking[] = {{"thinking", "thinking"}};

Result<std::string, ApiError> required_string(const Value& block, std::string_view name,
                                              const std::string& path) {
  const Value* value = find_present(block, name);
  if (value == nullptr) return missing_parameter(at(path, name));
  return read_string(*value, at(path, name));
}

ChatMessage& push(std::vector<ChatMessage>& messages, std::string role) {
  messages.emplace_back().role = std::move(role);
  return messages.back();
}

Problem add_tool_result(const Value& block, const std::string& path, std::vector<ChatMessage>& messages) {
  auto id = required_string(block, "tool_use_id", path);
  if (!id) return id.error();
  std::string text;
  const Value* content = find_present(block, "content");
  const auto* parts = content == nullptr ? nullptr : std::get_if<ValueArray>(&content->data);
  if (content != nullptr && (parts == nullptr || !parts->empty())) {
    auto read = read_text_content(*content, at(path, "content"), kText);
    if (!read) return read.error();
    text = std::move(read).value();
  }
  ChatMessage& message = push(messages, "tool");
  message.tool_call_id = std::move(id).value();
  message.content = std::move(text);
  return std::nullopt;
}

Problem add_user_block(const Value& block, const std::string& path, std::vector<ChatMessage>& messages,
                       bool& in_text) {
  auto type = read_part_type(block, path);
  if (!type) return type.error();
  if (type.value() == "tool_result") {
    in_text = false;
    return add_tool_result(block, path, messages);
  }
  auto text = read_text_part(block, path, kText);
  if (!text) return text.error();
  if (!in_text) push(messages, "user");
  in_text = true;
  messages.back().content += text.value();
  return std::nullopt;
}

Problem add_tool_use(const Value& block, const std::string& path, ChatMessage& message) {
  auto id = required_string(block, "id", path);
  if (!id) return id.error();
  auto name = required_string(block, "name", path);
  if (!name) return name.error();
  if (name.value().empty()) return invalid_value(at(path, "name"), "must not be empty");
  const Value* input = find_present(block, "input");
  if (input == nullptr) return missing_parameter(at(path, "input"));
  if (auto object = read_object(*input, at(path, "input")); !object) return object.error();
  message.tool_calls.push_back({.id = std::move(id).value(),
                                .name = std::move(name).value(),
                                .arguments = *input,
                                .arguments_text = to_python_json(*input)});
  return std::nullopt;
}

Problem add_assistant_block(const Value& block, const std::string& path, ChatMessage& message) {
  auto type = read_part_type(block, path);
  if (!type) return type.error();
  if (type.value() == "tool_use") return add_tool_use(block, path, message);
  if (type.value() == "redacted_thinking")
    return unsupported(path, "redacted thinking can't be read by this server");
  const bool thinking = type.value() == "thinking";
  auto text = read_text_part(block, path, thinking ? std::span<const TextPart>(kThinking) : kText);
  if (!text) return text.error();
  if (thinking) {
    message.reasoning = message.reasoning.value_or("") + text.value();
  } else {
    message.content += text.value();
  }
  return std::nullopt;
}

Problem add_message(const Value& value, const std::string& path, std::vector<ChatMessage>& messages) {
  if (auto object = read_object(value, path); !object) return object.error();
  const Value* role = find_present(value, "role");
  if (role == nullptr) return missing_parameter(at(path, "role"));
  static constexpr std::string_view kRoles[] = {"user", "assistant", "system"};
  auto name = read_choice(*role, kRoles, at(path, "role"));
  if (!name) return name.error();
  const Value* content = find_present(value, "content");
  if (content == nullptr) return missing_parameter(at(path, "content"));
  const auto* blocks = std::get_if<ValueArray>(&content->data);
  const std::string content_path = at(path, "content");
  if (blocks == nullptr || blocks->empty() || name.value() == "system") {
    auto text = read_text_content(*content, content_path, kText);  // also the error of an empty list
    if (!text) return text.error();
    push(messages, name.value()).content = std::move(text).value();
    return std::nullopt;
  }
  if (name.value() == "assistant") push(messages, "assistant");
  bool in_text = false;
  for (size_t i = 0; i < blocks->size(); ++i) {
    const Value& block = (*blocks)[i];
    Problem problem = name.value() == "user"
                          ? add_user_block(block, at(content_path, i), messages, in_text)
                          : add_assistant_block(block, at(content_path, i), messages.back());
    if (problem) return problem;
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<ChatMessage>, ApiError> parse_message_input(const Value& value, const Value* system) {
  std::vector<ChatMessage> messages;
  const auto* blocks = system == nullptr ? nullptr : std::get_if<ValueArray>(&system->data);
  if (system != nullptr && (blocks == nullptr || !blocks->empty())) {
    auto text = read_text_content(*system, "system", kText);
    if (!text) return text.error();
    push(messages, "system").content = std::move(text).value();
  }
  auto list = read_array(value, "messages");
  if (!list) return list.error();
  if (list.value()->empty()) return invalid_value("messages", "must have at least one message");
  for (size_t i = 0; i < list.value()->size(); ++i)
    if (Problem problem = add_message((*list.value())[i], at("messages", i), messages)) return *problem;
  return messages;
}

}  // namespace qwend
