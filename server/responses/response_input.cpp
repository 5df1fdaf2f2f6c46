#include "server/responses/response_input.h"

#include <algorithm>

#include "server/openai/content_parts.h"
#include "server/openai/messages.h"

namespace qwend {
namespace {

constexpr TextPart kMessageParts[] = {
    {"input_text", "text"}, {"output_text", "text"}, {"refusal", "refusal"}};
constexpr TextPart kOutputParts[] = {{"input_text", "text"}};
constexpr TextPart kReasoningParts[] = {{"reasoning_text", "text"}};
constexpr TextPart kSummaryParts[] = {{"summary_text", "text"}};

Result<std::string, ApiError> required_string(const Value& item, std::string_view name,
                                              const std::string& path) {
  const Value* value = find_present(item, name);
  if (value == nullptr) return missing_parameter(at(path, name));
  return read_string(*value, at(path, name));
}

class InputReader {
 public:
  Problem add(const Value& item, const std::string& path) {
    if (auto object = read_object(item, path); !object) return object.error();
    std::string kind = "message";
    if (const Value* type = find_present(item, "type")) {
      auto text = read_string(*type, at(path, "type"));
      if (!text) return text.error();
      kind = std::move(text).value();
    }
    if (kind == "message") return add_message(item, path);
    if (kind == "function_call") return add_call(item, path);
    if (kind == "function_call_output") return add_call_output(item, path);
    if (kind == "reasoning") return add_reasoning(item, path);
    return unsupported(at(path, "type"), "items of type '" + kind + "' are not supported by this server");
  }
  std::vector<ChatMessage> take() { return std::move(messages_); }

 private:
  Problem add_message(const Value& item, const std::string& path) {
    const Value* role = find_present(item, "role");
    if (role == nullptr) return missing_parameter(at(path, "role"));
    static constexpr std::string_view kRoles[] = {"user", "assistant", "system", "developer"};
    auto name = read_choice(*role, kRoles, at(path, "role"));
    if (!name) return name.error();
    const Value* content = find_present(item, "content");
    if (content == nullptr) return missing_parameter(at(path, "content"));
    auto text = read_text_content(*content, at(path, "content"), kMessageParts);
    if (!text) return text.error();
    if (name.value() == "assistant") {
      ChatMessage& turn = assistant_turn(open_turn_ && messages_.back().content.empty() &&
                                         messages_.back().tool_calls.empty());
      turn.content = std::move(text).value();
    } else {
      push(name.value() == "developer" ? "system" : name.value()).content = std::move(text).value();
    }
    return std::nullopt;
  }

  Problem add_call(const Value& item, const std::string& path) {
    auto id = required_string(item, "call_id", path);
    if (!id) return id.error();
    auto name = required_string(item, "name", path);
    if (!name) return name.error();
    if (name.value().empty()) return invalid_value(at(path, "name"), "must not be empty");
    auto arguments = required_string(item, "arguments", path);
    if (!arguments) return arguments.error();
    ToolCall call{
        .id = std::move(id).value(), .name = std::move(name).value(), .arguments = {}, .arguments_text = {}};
    set_arguments(call, std::move(arguments).value());
    assistant_turn(open_turn_).tool_calls.push_back(std::move(call));
    return std::nullopt;
  }

  Problem add_call_output(const Value& item, const std::string& path) {
    auto id = required_string(item, "call_id", path);
    if (!id) return id.error();
    const Value* output = find_present(item, "output");
    if (output == nullptr) return missing_parameter(at(path, "output"));
    auto text = read_text_content(*output, at(path, "output"), kOutputParts);
    if (!text) return text.error();
    ChatMessage& message = push("tool");
    message.tool_call_id = std::move(id).value();
    message.content = std::move(text).value();
    return std::nullopt;
  }

  // The reasoning itself, or its summary where a client has kept only that.
  Problem add_reasoning(const Value& item, const std::string& path) {
    std::string reasoning;
    for (const auto& [name, kinds] :
         {std::pair<std::string_view, std::span<const TextPart>>{"summary", kSummaryParts},
          {"content", kReasoningParts}}) {
      const Value* parts = find_present(item, name);
      if (parts == nullptr) continue;
      auto list = read_array(*parts, at(path, name));
      if (!list) return list.error();
      if (list.value()->empty()) continue;
      auto text = read_text_content(*parts, at(path, name), kinds);
      if (!text) return text.error();
      reasoning = std::move(text).value();
    }
    assistant_turn(false).reasoning = std::move(reasoning);
    return std::nullopt;
  }

  ChatMessage& push(std::string role) {
    open_turn_ = role == "assistant";
    messages_.emplace_back().role = std::move(role);
    return messages_.back();
  }
  // The message that goes on, or a new one.
  ChatMessage& assistant_turn(bool go_on) { return go_on ? messages_.back() : push("assistant"); }

  std::vector<ChatMessage> messages_;
  bool open_turn_ = false;  // the last message is the assistant's
};

}  // namespace

Result<std::vector<ChatMessage>, ApiError> parse_response_input(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.data)) {
    ChatMessage message;
    message.role = "user";
    message.content = *text;
    return std::vector<ChatMessage>{std::move(message)};
  }
  const auto* items = std::get_if<ValueArray>(&value.data);
  if (items == nullptr) return invalid_type("input", "a string or an array of items", type_name(value));
  if (items->empty()) return invalid_value("input", "must have at least one item");
  InputReader reader;
  for (size_t i = 0; i < items->size(); ++i)
    if (Problem problem = reader.add((*items)[i], at("input", i))) return *problem;
  return reader.take();
}

std::vector<ChatMessage> with_instructions(const std::string& instructions,
                                           std::vector<ChatMessage> messages) {
  const auto end = std::ranges::find_if(messages, [](const ChatMessage& m) { return m.role != "system"; });
  std::string system = instructions;
  for (auto message = messages.begin(); message != end; ++message)
    system += (system.empty() ? "" : "\n\n") + message->content;
  messages.erase(messages.begin(), end);
  if (system.empty()) return messages;
  ChatMessage first;
  first.role = "system";
  first.content = std::move(system);
  messages.insert(messages.begin(), std::move(first));
  return messages;
}

}  // namespace qwend
