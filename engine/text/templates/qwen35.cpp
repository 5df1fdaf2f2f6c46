// Qwen3.5 and 3.6: JSON tools, XML calls, reasoning; all contents are trimmed.
#include "engine/text/templates/chatml.h"
#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

// The system text comes after the tools.
void write_system(Prompt& prompt, const Conversation& conversation) {
  const std::string_view text =
      conversation.starts_with_system() ? strip(conversation.messages.front().content) : std::string_view();
  if (conversation.tools.empty()) {
    if (conversation.starts_with_system()) write_system_turn(prompt, text);
    return;
  }
  open_turn(prompt, "system");
  prompt.markup("# Tools\n\nYou have access to the following functions:\n\n<tools>");
  for (const Value& tool : conversation.tools) prompt.markup("\n").client(to_python_json(tool));
  prompt.markup("\n</tools>").markup(kXmlCallInstructions);
  if (!text.empty()) prompt.markup("\n\n").client(text);
  close_turn(prompt);
}

// The last message in which the user asks something; tool results that a client sends as a user don't count.
std::optional<size_t> last_query(const Conversation& conversation) {
  for (size_t i = conversation.messages.size(); i-- > 0;) {
    if (conversation.messages[i].role != "user") continue;
    const std::string_view content = strip(conversation.messages[i].content);
    if (!content.starts_with("<tool_response>") || !content.ends_with("</tool_response>")) return i;
  }
  return std::nullopt;
}

Problem write_assistant(Prompt& prompt, const ChatMessage& message, bool shows_reasoning) {
  const Answer answer = split_reasoning(message, strip(message.content));
  open_turn(prompt, "assistant");
  if (shows_reasoning) prompt.markup("<think>\n").model(strip(answer.reasoning)).markup("\n</think>\n\n");
  prompt.model(answer.content);
  for (const ToolCall& call : message.tool_calls) {
    if (&call != &message.tool_calls.front()) {
      prompt.markup("\n");
    } else if (!strip(answer.content).empty()) {
      prompt.markup("\n\n");
    }
    if (Problem problem = write_xml_tool_call(prompt, call)) return problem;
  }
  close_turn(prompt);
  return std::nullopt;
}

void write_tool(Prompt& prompt, const Conversation& conversation, size_t index) {
  if (index > 0 && opens_tool_group(conversation, index)) prompt.markup("<|im_start|>user");
  prompt.markup("\n<tool_response>\n")
      .client(strip(conversation.messages[index].content))
      .markup("\n</tool_response>");
  if (closes_tool_group(conversation, index)) close_turn(prompt);
}

Problem write_message(Prompt& prompt, const Conversation& conversation, size_t index,
                      size_t last_query_index) {
  const ChatMessage& message = conversation.messages[index];
  if (message.role == "system") {
    if (index > 0) return "System message must be at the beginning.";
  } else if (message.role == "user") {
    open_turn(prompt, "user");
    prompt.client(strip(message.content));
    close_turn(prompt);
  } else if (message.role == "assistant") {
    const bool preserves =
        conversation.traits.knows_preserve_thinking && conversation.options.preserve_thinking;
    return write_assistant(prompt, message, preserves || index > last_query_index);
  } else if (message.role == "tool") {
    write_tool(prompt, conversation, index);
  } else {
    return "Unexpected message role.";
  }
  return std::nullopt;
}

}  // namespace

Problem render_qwen35(const Conversation& conversation, Prompt& prompt) {
  write_system(prompt, conversation);
  const std::optional<size_t> last_query_index = last_query(conversation);
  if (!last_query_index) return "No user query found in messages.";
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    if (Problem problem = write_message(prompt, conversation, i, *last_query_index)) return problem;
  }
  if (conversation.options.add_generation_prompt) {
    const bool thinks =
        conversation.options.enable_thinking.value_or(conversation.traits.thinking_by_default);
    open_turn(prompt, "assistant");
    prompt.markup(thinks ? "<think>\n" : "<think>\n\n</think>\n\n");
  }
  return std::nullopt;
}

}  // namespace qwend::templates
