#include "server/openai/output_items.h"

#include <algorithm>
#include <iterator>

#include "server/openai/messages.h"

namespace qwend {

using Kind = OutputItem::Kind;

void OutputItems::push(ChoiceUpdate update, int32_t reasoning_tokens, Listener& listener) {
  if (!update.reasoning.empty()) add_text(Kind::Reasoning, update.reasoning, {}, listener);
  std::vector<TokenOutput> logprobs = message_logprobs(update, reasoning_tokens);
  if (!update.content.empty()) add_text(Kind::Message, update.content, std::move(logprobs), listener);
  for (const ToolCallDelta& call : update.tool_calls) {
    if (!call.name.empty()) {
      close(listener);
      items_.push_back({.kind = Kind::Call, .name = call.name, .call_index = call.index});
      listener.opened(items_.size() - 1);
    }
    if (call.arguments.empty()) continue;
    items_.back().text += call.arguments;
    listener.grew(items_.size() - 1, call.arguments, {});
  }
}

void OutputItems::open(Kind kind, Listener& listener) {
  close(listener);
  items_.push_back({.kind = kind});
  listener.opened(items_.size() - 1);
}

void OutputItems::close(Listener& listener) {
  if (items_.empty() || !items_.back().open) return;
  items_.back().open = false;
  listener.closed(items_.size() - 1);
}

void OutputItems::add_text(Kind kind, const std::string& text, std::vector<TokenOutput> logprobs,
                           Listener& listener) {
  if (items_.empty() || items_.back().kind != kind || !items_.back().open) open(kind, listener);
  items_.back().text += text;
  listener.grew(items_.size() - 1, text, logprobs);
  std::ranges::move(logprobs, std::back_inserter(items_.back().logprobs));
}

// The update's entries less those of reasoning, which come ahead of the message, and of calls, which come
// after it.
std::vector<TokenOutput> OutputItems::message_logprobs(ChoiceUpdate& update, int32_t reasoning_tokens) {
  std::vector<TokenOutput> taken;
  size_t room = update.content.size();
  for (TokenOutput& token : update.logprobs) {
    if (logprobs_seen_++ < reasoning_tokens || room == 0) continue;
    room -= std::min(room, tokenizer_->bytes(token.token).size());
    taken.push_back(std::move(token));
  }
  return taken;
}

ChatMessage OutputItems::texts() const {
  ChatMessage message;
  message.role = "assistant";
  for (const OutputItem& item : items_) {
    if (item.kind == Kind::Reasoning) message.reasoning = message.reasoning.value_or("") + item.text;
    if (item.kind == Kind::Message) message.content += item.text;
  }
  return message;
}

void OutputItems::add_call(ChatMessage& message, const OutputItem& item, std::string id) {
  ToolCall call{.id = std::move(id), .name = item.name, .arguments = {}, .arguments_text = {}};
  set_arguments(call, item.text);
  message.tool_calls.push_back(std::move(call));
}

}  // namespace qwend
