// Plain ChatML, Qwen2.5 and QwQ.
#include "engine/text/templates/chatml.h"
#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

// Both print "{system text}\n\n# Tools…" even when there is no system text.
void write_tools_turn(Prompt& prompt, const Conversation& conversation, std::string_view default_system) {
  open_turn(prompt, "system");
  if (conversation.starts_with_system()) {
    prompt.client(conversation.messages.front().content);
  } else {
    prompt.markup(default_system);
  }
  prompt.markup("\n\n");
  write_json_tools(prompt, conversation.tools);
  close_turn(prompt);
}

// `content` is what is left of the message's content.
void write_assistant_calls(Prompt& prompt, const ChatMessage& message, std::string_view content) {
  prompt.markup("<|im_start|>assistant");
  if (!message.content.empty()) prompt.markup("\n").model(content);
  for (const ToolCall& call : message.tool_calls) {
    prompt.markup("\n");
    write_json_tool_call(prompt, call, ArgumentStrings::Quoted);
  }
  close_turn(prompt);
}

}  // namespace

Problem render_chatml(const Conversation& conversation, Prompt& prompt) {
  const std::string& default_system = conversation.traits.default_system;
  if (!default_system.empty() && !conversation.starts_with_system())
    write_system_turn(prompt, default_system);
  for (const ChatMessage& message : conversation.messages) write_turn(prompt, message);
  if (conversation.options.add_generation_prompt) open_turn(prompt, "assistant");
  return std::nullopt;
}

Problem render_qwen25(const Conversation& conversation, Prompt& prompt) {
  const std::string& default_system = conversation.traits.default_system;
  if (!conversation.tools.empty()) {
    write_tools_turn(prompt, conversation, default_system);
  } else {
    write_system_turn(
        prompt, conversation.starts_with_system() ? conversation.messages.front().content : default_system);
  }
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const ChatMessage& message = conversation.messages[i];
    if (message.role == "assistant" && !message.tool_calls.empty()) {
      write_assistant_calls(prompt, message, message.content);
    } else if (message.role == "user" || message.role == "assistant" || (message.role == "system" && i > 0)) {
      write_turn(prompt, message);
    } else if (message.role == "tool") {
      write_tool_response(prompt, conversation, i);
    }
  }
  if (conversation.options.add_generation_prompt) open_turn(prompt, "assistant");
  return std::nullopt;
}

Problem render_qwq(const Conversation& conversation, Prompt& prompt) {
  if (!conversation.tools.empty()) {
    write_tools_turn(prompt, conversation, "");
  } else if (conversation.starts_with_system()) {
    write_system_turn(prompt, conversation.messages.front().content);
  }
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const ChatMessage& message = conversation.messages[i];
    if (message.role == "user" || (message.role == "system" && i > 0)) {
      write_turn(prompt, message);
    } else if (message.role == "assistant") {
      const std::string_view content = conversation.is_last(i)
                                           ? std::string_view(message.content)
                                           : lstrip_newlines(after_last(message.content, "</think>"));
      if (message.tool_calls.empty()) {
        open_turn(prompt, "assistant");
        prompt.model(content);
        close_turn(prompt);
      } else {
        write_assistant_calls(prompt, message, content);
      }
    } else if (message.role == "tool") {
      write_tool_response(prompt, conversation, i);
    }
  }
  if (conversation.options.add_generation_prompt) {
    open_turn(prompt, "assistant");
    if (conversation.traits.opens_thinking) prompt.markup("<think>\n");
  }
  return std::nullopt;
}

}  // namespace qwend::templates
