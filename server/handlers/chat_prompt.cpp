#include "server/handlers/chat_prompt.h"

namespace qwend {
namespace {

constexpr std::string_view kThinkOpen = "<think>\n";
constexpr std::string_view kThinkClose = "\n</think>\n\n";

// Families whose templates show tools as JSON and whose models answer with <tool_call>{…}</tool_call>.
bool has_json_tool_calls(ChatFamily family) {
  switch (family) {
    case ChatFamily::Qwen25:
    case ChatFamily::Qwen3:
    case ChatFamily::Qwen3Instruct:
    case ChatFamily::Qwen3Thinking:
    case ChatFamily::QwQ: return true;
    default: return false;
  }
}

Problem check_tools(const App& app, const ToolSettings& tools) {
  if (tools.mode == ToolMode::None) return std::nullopt;
  const ChatFamily family = app.chat_template.family();
  if (family == ChatFamily::ChatML || family == ChatFamily::DeepSeekR1)
    return unsupported("tools", "this model's chat template has no place for tools");
  if (tools.mode != ToolMode::Auto && !has_json_tool_calls(family))
    return unsupported("tool_choice", "calls can't be forced with this model");
  return std::nullopt;
}

// Ends where the model's own tokens would: before the blank of ` {`, after the quote of ` "`.
std::string forced_call(const ToolSettings& tools) {
  if (tools.mode == ToolMode::Named)
    return "<tool_call>\n{\"name\": \"" + tools.forced_name + "\", \"arguments\":";
  if (tools.mode == ToolMode::Required) return "<tool_call>\n{\"name\": \"";
  return {};
}

// The message to be continued has opened a think block and not closed it.
bool continues_reasoning(const ChatRequest& request) {
  if (!request.template_options.continue_final_message) return false;
  const std::string& content = request.messages.back().content;
  const size_t open = content.rfind("<think>");
  return open != std::string::npos && content.find("</think>", open) == std::string::npos;
}

}  // namespace

Result<ChatPrompt, ApiError> make_chat_prompt(const App& app, const ChatRequest& request) {
  if (Problem problem = check_tools(app, request.tools)) return *problem;
  ChatPrompt prompt;
  prompt.forced_prefix = forced_call(request.tools);
  prompt.parse_tools =
      request.tools.mode != ToolMode::None && has_json_tool_calls(app.chat_template.family());

  ChatTemplateOptions options = request.template_options;
  if (!prompt.forced_prefix.empty()) options.enable_thinking = false;
  auto segments = app.chat_template.render(request.messages, request.tools.tools, options);
  if (!segments) return invalid_value("messages", segments.error());
  prompt.segments = std::move(segments).value();

  const bool ends_in_think = !prompt.segments.empty() && prompt.segments.back().text.ends_with(kThinkOpen);
  prompt.starts_in_reasoning = ends_in_think || continues_reasoning(request);
  if (!prompt.forced_prefix.empty()) {
    // Always-thinking models get an empty block, as their hybrid siblings do when thinking is off.
    std::string text =
        prompt.starts_in_reasoning ? std::string(kThinkClose.substr(ends_in_think ? 1 : 0)) : "";
    prompt.segments.push_back({text + prompt.forced_prefix, Specials::UserDefined});
    prompt.starts_in_reasoning = false;
  }
  return prompt;
}

}  // namespace qwend
