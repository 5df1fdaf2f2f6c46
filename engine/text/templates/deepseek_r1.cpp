// DeepSeek-R1-Distill-Qwen.
#include "engine/text/templates/families.h"
#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

// The template's own state: it is never reset between turns, so that only the first call of a whole
// conversation opens a list of calls, and only the first tool result a list of results.
struct State {
  bool wrote_a_call = false;
  bool wrote_an_output = false;
  bool in_outputs = false;
};

void write_calls(Prompt& prompt, const ChatMessage& message, State& state) {
  state.in_outputs = false;
  for (const ToolCall& call : message.tool_calls) {
    prompt.markup(state.wrote_a_call ? "\n" : "<｜Assistant｜><｜tool▁calls▁begin｜>");
    state.wrote_a_call = true;
    prompt.markup("<｜tool▁call▁begin｜>function<｜tool▁sep｜>").client(call.name).markup("\n```json\n");
    prompt.client(to_python_json(call.arguments)).markup("\n```<｜tool▁call▁end｜>");
  }
  prompt.markup("<｜tool▁calls▁end｜><｜end▁of▁sentence｜>");
}

void write_answer(Prompt& prompt, const ChatMessage& message, State& state) {
  if (state.in_outputs) {
    prompt.markup("<｜tool▁outputs▁end｜>").model(message.content);
    state.in_outputs = false;
  } else {
    prompt.markup("<｜Assistant｜>").model(after_last(message.content, "</think>"));
  }
  prompt.markup("<｜end▁of▁sentence｜>");
}

void write_output(Prompt& prompt, const ChatMessage& message, State& state) {
  prompt.markup(state.wrote_an_output ? "\n" : "<｜tool▁outputs▁begin｜>");
  prompt.markup("<｜tool▁output▁begin｜>").client(message.content).markup("<｜tool▁output▁end｜>");
  state.wrote_an_output = true;
  state.in_outputs = true;
}

}  // namespace

Problem render_deepseek_r1(const Conversation& conversation, Prompt& prompt) {
  prompt.markup("<｜begin▁of▁sentence｜>");
  const ChatMessage* system = nullptr;  // the last one counts
  for (const ChatMessage& message : conversation.messages) {
    if (message.role == "system") system = &message;
  }
  if (system) prompt.client(system->content);
  State state;
  for (const ChatMessage& message : conversation.messages) {
    if (message.role == "user") {
      state.in_outputs = false;
      prompt.markup("<｜User｜>").client(message.content);
    } else if (message.role == "assistant") {
      if (!message.tool_calls.empty()) write_calls(prompt, message, state);
      // Clients leave the content of a message with calls empty or null; the template means null.
      if (message.tool_calls.empty() || !message.content.empty()) write_answer(prompt, message, state);
    } else if (message.role == "tool") {
      write_output(prompt, message, state);
    }
  }
  if (state.in_outputs) {
    prompt.markup("<｜tool▁outputs▁end｜>");
  } else if (conversation.options.add_generation_prompt) {
    prompt.markup("<｜Assistant｜>");
    if (conversation.traits.opens_thinking) prompt.markup("<think>\n");
  }
  return std::nullopt;
}

}  // namespace qwend::templates
