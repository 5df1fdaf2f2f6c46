// Pieces that the ChatML families share.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/templates/families.h"

namespace qwend::templates {

// <|im_start|>ROLE\n
void open_turn(Prompt& prompt, std::string_view role);
// <|im_end|>\n
void close_turn(Prompt& prompt);
void write_turn(Prompt& prompt, const ChatMessage& message);
// The system turn of conversations without tools.
void write_system_turn(Prompt& prompt, std::string_view text);

// "# Tools" up to the end of the instructions: a JSON object a line.
void write_json_tools(Prompt& prompt, const std::vector<Value>& tools);

enum class ArgumentStrings {
  Quoted,
  Raw
};  // what becomes of arguments that are a string instead of an object
// <tool_call>\n{"name": …, "arguments": …}\n</tool_call>
void write_json_tool_call(Prompt& prompt, const ToolCall& call, ArgumentStrings strings);

// Consecutive tool messages share one user turn.
bool opens_tool_group(const Conversation& conversation, size_t index);
bool closes_tool_group(const Conversation& conversation, size_t index);
void write_tool_response(Prompt& prompt, const Conversation& conversation, size_t index);

// ---- calls and tools of the XML families (Qwen3-Coder, Qwen3.5)

// How calls are to be written: from the blank line after </tools> to </IMPORTANT>.
extern const std::string_view kXmlCallInstructions;
// Containers as JSON, anything else as Python's str().
std::string xml_text(const Value& value);
// <tool_call>\n<function=NAME>\n…</function>\n</tool_call>
Problem write_xml_tool_call(Prompt& prompt, const ToolCall& call);

// ---- reasoning

struct Answer {
  std::string_view reasoning;
  std::string_view content;
};
// From the message's own field, else from <think>…</think> in `content`.
Answer split_reasoning(const ChatMessage& message, std::string_view content);

}  // namespace qwend::templates
