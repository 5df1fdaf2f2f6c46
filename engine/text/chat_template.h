// Messages -> prompt, exactly as the model's own Jinja template renders it. The families are recognised by
// the template text in the file and rendered natively (no template is ever executed).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/text/tokenizer.h"
#include "engine/text/value.h"

namespace qwend {

struct ToolCall {
  std::string id;
  std::string name;
  Value arguments;             // an object when the client's string parsed as one
  std::string arguments_text;  // as the client sent it
};

struct ChatMessage {
  std::string role;  // system, user, assistant, tool (developer is mapped to system by the API layer)
  std::string content;
  std::optional<std::string> reasoning;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
};

struct ChatTemplateOptions {
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking;  // absent: the template's own default
  bool preserve_thinking = false;  // keep the reasoning of earlier turns, where the template knows the option
  // Leave the last assistant message open; no generation prompt. Where it has only begun to think, its think
  // block stays open.
  bool continue_final_message = false;
};

enum class ChatFamily {
  ChatML,
  Qwen25,
  Qwen3,
  Qwen3Instruct,
  Qwen3Thinking,
  QwQ,
  Qwen3Coder,
  Qwen35,
  DeepSeekR1
};
const char* name_of(ChatFamily family);

// Where files of one family differ.
struct ChatTemplateTraits {
  ChatFamily family = ChatFamily::ChatML;
  std::string default_system;            // system text when the client gives none; empty: no such turn
  bool thinking_by_default = true;       // Qwen3.5: the small models invert it
  bool opens_thinking = false;           // the generation prompt ends in "<think>\n" (QwQ, Thinking, R1)
  bool knows_preserve_thinking = false;  // Qwen3.6
};

// Immutable after construction; any thread.
class ChatTemplate {
 public:
  // template_text: tokenizer.chat_template; empty: none. Unknown text gives ChatML and a warning that says
  // so.
  static ChatTemplate recognise(std::string_view template_text, std::string_view architecture);
  ChatFamily family() const { return traits_.family; }
  const std::string& default_system() const { return traits_.default_system; }
  const std::string& warning() const { return warning_; }  // empty when recognised
  bool supports_thinking() const;

  // Markup of the template may become control tokens, what the model said before may become user-defined ones
  // (<think>, <tool_call>), and text of clients (system, user, tool, tools, arguments) stays text.
  // The error is a message for the client (what the Jinja would raise), e.g. "System message must be at the
  // beginning."
  Result<std::vector<TextSegment>, std::string> render(const std::vector<ChatMessage>& messages,
                                                       const std::vector<Value>& tools,
                                                       const ChatTemplateOptions& options) const;

 private:
  Result<std::vector<TextSegment>, std::string> render_thinking(const std::vector<ChatMessage>& messages,
                                                                const std::vector<Value>& tools,
                                                                const ChatTemplateOptions& options,
                                                                std::string_view thought) const;

  ChatTemplateTraits traits_;
  std::string warning_;
};

// What an assistant message has thought, when its think block is open: <think> at the start of its content
// without </think>, or reasoning without content.
std::optional<std::string_view> open_think_block(const ChatMessage& message);

std::string join(const std::vector<TextSegment>& segments);  // the prompt as one string

}  // namespace qwend
