// Qwen3: the hybrid models of 2025-04, and the Instruct and Thinking ones of 2025-07.
#include "engine/text/templates/chatml.h"
#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

void write_system(Prompt& prompt, const Conversation& conversation) {
  const bool has_system = conversation.starts_with_system();
  if (!has_system && conversation.tools.empty()) return;
  open_turn(prompt, "system");
  if (has_system) prompt.client(conversation.messages.front().content);
  if (!conversation.tools.empty()) {
    if (has_system) prompt.markup("\n\n");
    write_json_tools(prompt, conversation.tools);
  }
  close_turn(prompt);
}

// The last message in which the user asks something; tool results that a client sends as a user don't count.
size_t last_query(const Conversation& conversation) {
  for (size_t i = conversation.messages.size(); i-- > 0;) {
    const ChatMessage& message = conversation.messages[i];
    if (message.role != "user") continue;
    if (!message.content.starts_with("<tool_response>") || !message.content.ends_with("</tool_response>"))
      return i;
  }
  return conversation.messages.size() - 1;
}

// Reasoning is kept only after the last query, that is, while tools are being called.
void write_assistant(Prompt& prompt, const Conversation& conversation, size_t index,
                     size_t last_query_index) {
  const ChatMessage& message = conversation.messages[index];
  const bool thinks = conversation.traits.family != ChatFamily::Qwen3Instruct;
  const Answer answer = thinks ? split_reasoning(message, message.content) : Answer{{}, message.content};
  const bool shows_reasoning =
      thinks && index > last_query_index && (conversation.is_last(index) || !answer.reasoning.empty());
  open_turn(prompt, "assistant");
  if (shows_reasoning) {
    prompt.markup("<think>\n").model(strip_newlines(answer.reasoning)).markup("\n</think>\n\n");
    prompt.model(lstrip_newlines(answer.content));
  } else {
    prompt.model(answer.content);
  }
  for (const ToolCall& call : message.tool_calls) {
    if (&call != &message.tool_calls.front() || !answer.content.empty()) prompt.markup("\n");
    write_json_tool_call(prompt, call, ArgumentStrings::Raw);
  }
  close_turn(prompt);
}

void write_generation_prompt(Prompt& prompt, const Conversation& conversation) {
  open_turn(prompt, "assistant");
  if (conversation.traits.opens_thinking) prompt.markup("<think>\n");
  const bool switched_off = conversation.options.enable_thinking == false;
  if (conversation.traits.family == ChatFamily::Qwen3 && switched_off)
    prompt.markup("<think>\n\n</think>\n\n");
}

}  // namespace

Problem render_qwen3(const Conversation& conversation, Prompt& prompt) {
  write_system(prompt, conversation);
  const size_t last_query_index = last_query(conversation);
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const ChatMessage& message = conversation.messages[i];
    if (message.role == "user" || (message.role == "system" && i > 0)) {
      write_turn(prompt, message);
    } else if (message.role == "assistant") {
      write_assistant(prompt, conversation, i, last_query_index);
    } else if (message.role == "tool") {
      write_tool_response(prompt, conversation, i);
    }
  }
  if (conversation.options.add_generation_prompt) write_generation_prompt(prompt, conversation);
  return std::nullopt;
}

}  // namespace qwend::templates
