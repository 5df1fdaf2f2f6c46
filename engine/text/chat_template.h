// Messages -> prompt, exactly as the model's own Jinja template renders it. The families are recognised by the
// template text in the file and rendered natively (no template is ever executed).
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
  Value arguments;                    // an object when the client's string parsed as one
  std::string arguments_text;         // as the client sent it
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
  std::optional<bool> enable_thinking;
  bool preserve_thinking = false;
  bool continue_final_message = false;  // leave the last assistant message open
};

enum class ChatFamily { ChatML, Qwen25, Qwen3, Qwen3Instruct, Qwen3Thinking, QwQ, Qwen3Coder, Qwen35, DeepSeekR1 };
const char* name_of(ChatFamily family);

// Immutable after construction; any thread.
class ChatTemplate {
 public:
  // template_text: tokenizer.chat_template; empty: none. Unknown text gives ChatML and a warning that says so.
  static ChatTemplate recognise(std::string_view template_text, std::string_view architecture);
  ChatFamily family() const { return family_; }
  const std::string& default_system() const { return default_system_; }
  const std::string& warning() const { return warning_; }  // empty when recognised
  bool supports_thinking() const;
  // The error is a message for the client (what the Jinja would raise), e.g. "System message must be at the beginning."
  Result<std::vector<TextSegment>, std::string> render(const std::vector<ChatMessage>& messages,
                                                       const std::vector<Value>& tools,
                                                       const ChatTemplateOptions& options) const;

 private:
  ChatFamily family_ = ChatFamily::ChatML;
  std::string default_system_;
  bool thinking_by_default_ = true;  // Qwen3.5: the small models invert it
  std::string warning_;
};

std::string join(const std::vector<TextSegment>& segments);  // the prompt as one string

}  // namespace qwend
