// One renderer a family. Each is the family's Jinja written out, for text content.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/text/chat_template.h"
#include "engine/text/templates/prompt.h"

namespace qwend::templates {

struct Conversation {
  const std::vector<ChatMessage>& messages;  // not empty
  const std::vector<Value>& tools;
  const ChatTemplateOptions& options;
  const ChatTemplateTraits& traits;

  bool starts_with_system() const { return messages.front().role == "system"; }
  bool is_last(size_t index) const { return index + 1 == messages.size(); }
};

// Nothing, or a message for the client.
using Problem = std::optional<std::string>;

Problem render_chatml(const Conversation& conversation, Prompt& prompt);
Problem render_qwen25(const Conversation& conversation, Prompt& prompt);
Problem render_qwq(const Conversation& conversation, Prompt& prompt);
Problem render_qwen3(const Conversation& conversation, Prompt& prompt);  // hybrid, Instruct and Thinking
Problem render_qwen3_coder(const Conversation& conversation, Prompt& prompt);
Problem render_qwen35(const Conversation& conversation, Prompt& prompt);
Problem render_deepseek_r1(const Conversation& conversation, Prompt& prompt);

}  // namespace qwend::templates
