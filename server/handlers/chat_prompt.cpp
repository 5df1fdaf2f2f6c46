#include "server/handlers/chat_prompt.h"

namespace qwend {
namespace {

constexpr std::string_view kThinkOpen = "<think>\n";

// How a family's models write calls; None: its template has no place for tools.
ToolCallFormat call_format(ChatFamily family) {
  switch (family) {
    case ChatFamily::Qwen25:
    case ChatFamily::Qwen3:
    case ChatFamily::Qwen3Instruct:
    case ChatFamily::Qwen3Thinking:
    case ChatFamily::QwQ: return ToolCallFormat::Json;
    case ChatFamily::Qwen3Coder:
    case ChatFamily::Qwen35: return ToolCallFormat::Xml;
    case ChatFamily::ChatML:
    case ChatFamily::DeepSeekR1: break;
  }
  return ToolCallFormat::None;
}

// Ends where the model's own tokens would: before the blank of ` {`, after the quote of ` "`, before `=name`.
std::string forced_call(const ToolSettings& tools, ToolCallFormat format) {
  const bool json = format == ToolCallFormat::Json;
  const std::string& name = tools.forced_name;
  if (tools.mode == ToolMode::Named)
    return json ? "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\":"
                : "<tool_call>\n<function=" + name + ">\n";
  if (tools.mode == ToolMode::Required) return json ? "<tool_call>\n{\"name\": \"" : "<tool_call>\n<function";
  return {};
}

}  // namespace

Result<ChatPrompt, ApiError> make_chat_prompt(const App& app, const ChatRequest& request) {
  ChatPrompt prompt;
  if (request.tools.mode != ToolMode::None) {
    prompt.tool_calls = call_format(app.chat_template.family());
    if (prompt.tool_calls == ToolCallFormat::None)
      return unsupported("tools", "this model's chat template has no place for tools");
    prompt.forced_prefix = forced_call(request.tools, prompt.tool_calls);
  }

  ChatTemplateOptions options = request.template_options;
  if (!prompt.forced_prefix.empty()) options.enable_thinking = false;
  auto segments = app.chat_template.render(request.messages, request.tools.tools, options);
  if (!segments) return invalid_value("messages", segments.error());
  prompt.segments = std::move(segments).value();

  const bool ends_in_think = !prompt.segments.empty() && prompt.segments.back().text.ends_with(kThinkOpen);
  const bool continues = request.template_options.continue_final_message &&
                         app.chat_template.supports_thinking() &&
                         open_think_block(request.messages.back()).has_value();
  prompt.starts_in_reasoning = ends_in_think || continues;
  // Models that always think, told not to, get an empty block, as their hybrid siblings do.
  if (ends_in_think && !continues && options.enable_thinking == false && prompt.forced_prefix.empty()) {
    prompt.segments.push_back({std::string(kThinkClose), Specials::UserDefined});
    prompt.starts_in_reasoning = false;
  }
  if (!prompt.forced_prefix.empty()) {
    // Always-thinking models get an empty block, as their hybrid siblings do when thinking is off.
    const std::string text(prompt.starts_in_reasoning ? kThinkClose : "");
    prompt.segments.push_back({text + prompt.forced_prefix, Specials::UserDefined});
    prompt.starts_in_reasoning = false;
  }
  return prompt;
}

}  // namespace qwend
