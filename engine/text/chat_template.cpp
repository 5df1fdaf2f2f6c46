#include "engine/text/chat_template.h"

#include <algorithm>

#include "engine/text/templates/families.h"
#include "engine/text/templates/python_text.h"
#include "engine/text/templates/recognise.h"

namespace qwend {
namespace {

using templates::Conversation;
using templates::Problem;
using templates::Prompt;

Problem render_family(const Conversation& conversation, Prompt& prompt) {
  switch (conversation.traits.family) {
    case ChatFamily::ChatML: return templates::render_chatml(conversation, prompt);
    case ChatFamily::Qwen25: return templates::render_qwen25(conversation, prompt);
    case ChatFamily::Qwen3:
    case ChatFamily::Qwen3Instruct:
    case ChatFamily::Qwen3Thinking: return templates::render_qwen3(conversation, prompt);
    case ChatFamily::QwQ: return templates::render_qwq(conversation, prompt);
    case ChatFamily::Qwen3Coder: return templates::render_qwen3_coder(conversation, prompt);
    case ChatFamily::Qwen35: return templates::render_qwen35(conversation, prompt);
    case ChatFamily::DeepSeekR1: return templates::render_deepseek_r1(conversation, prompt);
  }
  return "Unknown chat template.";
}

// Takes the markup that closes the last turn off again.
void reopen_last_turn(std::vector<TextSegment>& segments) {
  std::string& tail = segments.back().text;
  for (const std::string_view close : {"<|im_end|>\n", "<｜end▁of▁sentence｜>"}) {
    if (!tail.ends_with(close)) continue;
    tail.resize(tail.size() - close.size());
    if (tail.empty()) segments.pop_back();
    return;
  }
}

}  // namespace

const char* name_of(ChatFamily family) {
  switch (family) {
    case ChatFamily::ChatML: return "ChatML";
    case ChatFamily::Qwen25: return "Qwen2.5";
    case ChatFamily::Qwen3: return "Qwen3";
    case ChatFamily::Qwen3Instruct: return "Qwen3-Instruct";
    case ChatFamily::Qwen3Thinking: return "Qwen3-Thinking";
    case ChatFamily::QwQ: return "QwQ";
    case ChatFamily::Qwen3Coder: return "Qwen3-Coder";
    case ChatFamily::Qwen35: return "Qwen3.5";
    case ChatFamily::DeepSeekR1: return "DeepSeek-R1";
  }
  return "unknown";
}

ChatTemplate ChatTemplate::recognise(std::string_view template_text, std::string_view architecture) {
  ChatTemplate result;
  const std::string whose = " (architecture " + std::string(architecture) + ")";
  if (template_text.empty()) {
    result.warning_ = "the model file has no chat template" + whose + ": chats are rendered as plain ChatML";
    return result;
  }
  std::optional<templates::Recognised> recognised = templates::recognise(template_text);
  if (!recognised) {
    result.warning_ = "the model file's chat template is of no known family" + whose +
                      ": chats are rendered as plain ChatML, without tools";
    return result;
  }
  result.traits_ = std::move(recognised->traits);
  if (!recognised->exact) {
    result.warning_ = std::string("the model file's chat template is an unknown revision of ") +
                      name_of(result.family()) + "'s" + whose + ": prompts may differ from it in details";
  }
  return result;
}

bool ChatTemplate::supports_thinking() const {
  switch (traits_.family) {
    case ChatFamily::Qwen3:
    case ChatFamily::Qwen3Thinking:
    case ChatFamily::QwQ:
    case ChatFamily::Qwen35:
    case ChatFamily::DeepSeekR1: return true;
    default: return false;
  }
}

Result<std::vector<TextSegment>, std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                                                   const std::vector<Value>& tools,
                                                                   const ChatTemplateOptions& options) const {
  if (messages.empty()) return std::string("No messages provided.");
  const ChatMessage& last = messages.back();
  const bool stays_open = options.continue_final_message;
  if (stays_open && (last.role != "assistant" || !last.tool_calls.empty())) {
    return std::string("continue_final_message needs an assistant message without tool calls at the end.");
  }
  if (stays_open && supports_thinking()) {
    if (const auto thought = open_think_block(last))
      return render_thinking(messages, tools, options, *thought);
  }
  ChatTemplateOptions effective = options;
  if (stays_open) effective.add_generation_prompt = false;
  Prompt prompt;
  if (Problem problem = render_family({messages, tools, effective, traits_}, prompt))
    return std::move(*problem);
  std::vector<TextSegment> segments = prompt.take();
  if (stays_open) reopen_last_turn(segments);
  return segments;
}

// The prompt for a new answer, in which the thinking goes on: templates themselves know closed blocks only.
Result<std::vector<TextSegment>, std::string> ChatTemplate::render_thinking(
    const std::vector<ChatMessage>& messages, const std::vector<Value>& tools,
    const ChatTemplateOptions& options, std::string_view thought) const {
  ChatTemplateOptions anew = options;
  anew.continue_final_message = false;
  anew.add_generation_prompt = true;
  anew.enable_thinking = true;
  auto rendered = render({messages.begin(), messages.end() - 1}, tools, anew);
  if (!rendered) return rendered;
  std::vector<TextSegment> segments = std::move(rendered).value();
  if (!join(segments).ends_with("<think>\n")) segments.push_back({"<think>\n", Specials::All});
  if (!thought.empty()) segments.push_back({std::string(thought), Specials::UserDefined});
  return segments;
}

std::optional<std::string_view> open_think_block(const ChatMessage& message) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  if (message.reasoning && message.content.empty())
    return templates::lstrip_newlines(std::string_view(*message.reasoning));
  const std::string_view content = message.content;
  const size_t begin = std::min(content.find_first_not_of(" \t\r\n"), content.size());
  if (!content.substr(begin).starts_with(kOpen) || templates::contains(content, kClose)) return std::nullopt;
  return templates::lstrip_newlines(content.substr(begin + kOpen.size()));
}

std::string join(const std::vector<TextSegment>& segments) {
  std::string text;
  for (const TextSegment& segment : segments) text += segment.text;
  return text;
}

}  // namespace qwend
