#include "engine/text/templates/chatml.h"

#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

bool is_known_role(std::string_view role) {
  return role == "system" || role == "user" || role == "assistant" || role == "tool";
}

}  // namespace

void open_turn(Prompt& prompt, std::string_view role) {
  prompt.markup("<|im_start|>");
  is_known_role(role) ? prompt.markup(role) : prompt.client(role);
  prompt.markup("\n");
}

void close_turn(Prompt& prompt) { prompt.markup("<|im_end|>\n"); }

void write_turn(Prompt& prompt, const ChatMessage& message) {
  open_turn(prompt, message.role);
  message.role == "assistant" ? prompt.model(message.content) : prompt.client(message.content);
  close_turn(prompt);
}

void write_system_turn(Prompt& prompt, std::string_view text) {
  open_turn(prompt, "system");
  prompt.client(text);
  close_turn(prompt);
}

void write_json_tools(Prompt& prompt, const std::vector<Value>& tools) {
  prompt.markup(
      "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
      "You are provided with function signatures within <tools></tools> XML tags:\n<tools>");
  for (const Value& tool : tools) prompt.markup("\n").client(to_python_json(tool));
  prompt.markup(
      "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
      "<tool_call></tool_call> XML tags:\n<tool_call>\n"
      "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>");
}

void write_json_tool_call(Prompt& prompt, const ToolCall& call, ArgumentStrings strings) {
  const auto* text = std::get_if<std::string>(&call.arguments.data);
  prompt.markup("<tool_call>\n{\"name\": \"").client(call.name).markup("\", \"arguments\": ");
  prompt.client(text && strings == ArgumentStrings::Raw ? *text : to_python_json(call.arguments));
  prompt.markup("}\n</tool_call>");
}

bool opens_tool_group(const Conversation& conversation, size_t index) {
  return index == 0 || conversation.messages[index - 1].role != "tool";
}

bool closes_tool_group(const Conversation& conversation, size_t index) {
  return conversation.is_last(index) || conversation.messages[index + 1].role != "tool";
}

void write_tool_response(Prompt& prompt, const Conversation& conversation, size_t index) {
  if (opens_tool_group(conversation, index)) prompt.markup("<|im_start|>user");
  prompt.markup("\n<tool_response>\n")
      .client(conversation.messages[index].content)
      .markup("\n</tool_response>");
  if (closes_tool_group(conversation, index)) close_turn(prompt);
}

const std::string_view kXmlCallInstructions =
    "\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple "
    "lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: an inner <function=...></function> block must be "
    "nested "
    "within <tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the function "
    "call, but "
    "NOT after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge "
    "and do "
    "not tell the user about function calls\n</IMPORTANT>";

std::string xml_text(const Value& value) {
  const bool container =
      std::holds_alternative<ValueObject>(value.data) || std::holds_alternative<ValueArray>(value.data);
  return container ? to_python_json(value) : to_python_str(value);
}

Problem write_xml_tool_call(Prompt& prompt, const ToolCall& call) {
  const auto* arguments = std::get_if<ValueObject>(&call.arguments.data);
  if (!arguments) return "The arguments of the call of " + call.name + " must be a JSON object.";
  prompt.markup("<tool_call>\n<function=").client(call.name).markup(">\n");
  for (const auto& [name, value] : *arguments) {
    prompt.markup("<parameter=")
        .client(name)
        .markup(">\n")
        .client(xml_text(value))
        .markup("\n</parameter>\n");
  }
  prompt.markup("</function>\n</tool_call>");
  return std::nullopt;
}

Answer split_reasoning(const ChatMessage& message, std::string_view content) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  if (message.reasoning) return {*message.reasoning, content};
  if (!contains(content, kClose)) return {{}, content};
  const std::string_view before = rstrip_newlines(before_first(content, kClose));
  return {lstrip_newlines(after_last(before, kOpen)), lstrip_newlines(after_last(content, kClose))};
}

}  // namespace qwend::templates
