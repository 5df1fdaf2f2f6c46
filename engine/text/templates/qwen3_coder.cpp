// Qwen3-Coder: tools and calls in XML, no reasoning.
#include <algorithm>
#include <initializer_list>

#include "engine/text/templates/chatml.h"
#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

void write_element(Prompt& prompt, std::string_view name, std::string_view text) {
  prompt.markup("\n<").markup(name).markup(">").client(text).markup("</").markup(name).markup(">");
}

// The members that have no place of their own. Their names are the client's.
void write_extra_members(Prompt& prompt, const Value* object,
                         std::initializer_list<std::string_view> handled) {
  const auto* members = object ? std::get_if<ValueObject>(&object->data) : nullptr;
  if (!members) return;
  for (const auto& [name, value] : *members) {
    if (std::find(handled.begin(), handled.end(), name) != handled.end()) continue;
    prompt.markup("\n<").client(name).markup(">");
    prompt.client(xml_text(value));
    prompt.markup("</").client(name).markup(">");
  }
}

void write_parameter(Prompt& prompt, std::string_view name, const Value& fields) {
  prompt.markup("\n<parameter>");
  write_element(prompt, "name", name);
  if (const Value* type = fields.find("type")) write_element(prompt, "type", to_python_str(*type));
  if (const Value* description = fields.find("description")) {
    write_element(prompt, "description", strip(to_python_str(*description)));
  }
  write_extra_members(prompt, &fields, {"name", "type", "description"});
  prompt.markup("\n</parameter>");
}

void write_tool(Prompt& prompt, const Value& tool) {
  const Value* inner = tool.find("function");
  const Value& function = inner ? *inner : tool;
  const Value* name = function.find("name");
  prompt.markup("\n<function>");
  write_element(prompt, "name", name ? to_python_str(*name) : "");
  if (const Value* description = function.find("description")) {
    write_element(prompt, "description", strip(to_python_str(*description)));
  }
  prompt.markup("\n<parameters>");
  const Value* parameters = function.find("parameters");
  const Value* properties = parameters ? parameters->find("properties") : nullptr;
  if (const auto* members = properties ? std::get_if<ValueObject>(&properties->data) : nullptr) {
    for (const auto& [parameter, fields] : *members) write_parameter(prompt, parameter, fields);
  }
  write_extra_members(prompt, parameters, {"type", "properties"});
  prompt.markup("\n</parameters>");
  write_extra_members(prompt, &function, {"type", "name", "description", "parameters"});
  prompt.markup("\n</function>");
}

void write_system(Prompt& prompt, const Conversation& conversation) {
  const bool has_system = conversation.starts_with_system();
  if (!has_system && conversation.tools.empty()) return;
  open_turn(prompt, "system");
  if (has_system) {
    prompt.client(conversation.messages.front().content);
  } else {
    prompt.markup(conversation.traits.default_system);
  }
  if (!conversation.tools.empty()) {
    prompt.markup("\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>");
    for (const Value& tool : conversation.tools) write_tool(prompt, tool);
    prompt.markup("\n</tools>").markup(kXmlCallInstructions);
  }
  close_turn(prompt);
}

Problem write_assistant_calls(Prompt& prompt, const ChatMessage& message) {
  prompt.markup("<|im_start|>assistant");
  const std::string_view content = strip(message.content);
  if (!content.empty()) prompt.markup("\n").model(content).markup("\n");
  for (const ToolCall& call : message.tool_calls) {
    prompt.markup("\n");
    if (Problem problem = write_xml_tool_call(prompt, call)) return problem;
  }
  close_turn(prompt);
  return std::nullopt;
}

// Unlike the other families: every line ends in a newline, and a tool message right at the start opens no
// turn.
void write_tool_lines(Prompt& prompt, const Conversation& conversation, size_t index) {
  const size_t first = conversation.starts_with_system() ? 1 : 0;
  if (index > first && opens_tool_group(conversation, index)) prompt.markup("<|im_start|>user\n");
  prompt.markup("<tool_response>\n")
      .client(conversation.messages[index].content)
      .markup("\n</tool_response>\n");
  if (closes_tool_group(conversation, index)) close_turn(prompt);
}

}  // namespace

Problem render_qwen3_coder(const Conversation& conversation, Prompt& prompt) {
  write_system(prompt, conversation);
  for (size_t i = conversation.starts_with_system() ? 1 : 0; i < conversation.messages.size(); ++i) {
    const ChatMessage& message = conversation.messages[i];
    if (message.role == "assistant" && !message.tool_calls.empty()) {
      if (Problem problem = write_assistant_calls(prompt, message)) return problem;
    } else if (message.role == "tool") {
      write_tool_lines(prompt, conversation, i);
    } else {
      write_turn(prompt, message);
    }
  }
  if (conversation.options.add_generation_prompt) open_turn(prompt, "assistant");
  return std::nullopt;
}

}  // namespace qwend::templates
