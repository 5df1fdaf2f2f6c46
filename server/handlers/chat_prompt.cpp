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

// The prefix ends where the model's own tokens would: before the blank of ` {`, after the quote of ` "`,
// before
// `=name`. The openings go as far as the call is sure to be one, and its arguments to have begun.
void force_json_call(const std::vector<Value>& callable, ChatPrompt& prompt) {
  const std::string name = "<tool_call>\n{\"name\": \"", arguments = "\", \"arguments\":", object = " {";
  if (callable.size() == 1) {
    prompt.forced_prefix = name + name_of_tool(callable.front()) + arguments;
    prompt.openings = {object};
    return;
  }
  prompt.forced_prefix = name;
  for (const Value& tool : callable) prompt.openings.push_back(name_of_tool(tool) + arguments + object);
}

void force_xml_call(const std::vector<Value>& callable, ChatPrompt& prompt) {
  const bool one = callable.size() == 1;
  const auto named = [](const Value& tool) { return "=" + name_of_tool(tool) + ">\n"; };
  prompt.forced_prefix = "<tool_call>\n<function" + (one ? named(callable.front()) : std::string());
  for (const Value& tool : callable)
    for (const char* next : {"<parameter=", "</function>"})
      prompt.openings.push_back((one ? std::string() : named(tool)) + next);
}

}  // namespace

Result<ChatPrompt, ApiError> make_chat_prompt(const App& app, const ChatRequest& request) {
  ChatPrompt prompt;
  if (request.tools.mode != ToolMode::None) {
    prompt.tool_calls = call_format(app.chat_template.family());
    if (prompt.tool_calls == ToolCallFormat::None)
      return unsupported("tools", "this model's chat template has no place for tools");
    const bool json = prompt.tool_calls == ToolCallFormat::Json;
    if (request.tools.forces_call())
      (json ? force_json_call : force_xml_call)(callable_tools(request.tools), prompt);
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
