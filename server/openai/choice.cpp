#include "server/openai/choice.h"

#include <iterator>
#include <utility>

namespace qwend {
namespace {

template <class T>
void append_all(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void ChoiceUpdate::append(ChoiceUpdate&& later) {
  reasoning += later.reasoning;
  content += later.content;
  for (ToolCallDelta& call : later.tool_calls) {
    if (call.name.empty() && !tool_calls.empty() && tool_calls.back().index == call.index) {
      tool_calls.back().arguments += call.arguments;
    } else {
      tool_calls.push_back(std::move(call));
    }
  }
  append_all(logprobs, std::move(later.logprobs));
  append_all(token_ids, std::move(later.token_ids));
}

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::Stop: return "stop";
    case FinishReason::Length:
    case FinishReason::Deadline: return "length";  // cut short: what there is stands
    default: return nullptr;
  }
}

size_t LogprobBuffer::text_size(int32_t token) const {
  if (tokenizer_->type(token) == TokenType::Control && !keep_control_) return 0;
  return tokenizer_->bytes(token).size();
}

void LogprobBuffer::push(const OutputDelta& delta, std::vector<TokenOutput>& out) {
  for (const TokenOutput& token : delta.tokens) {
    waiting_.push_back({generated_, token});
    generated_ += text_size(token.token);
  }
  shown_ += delta.text.size();
  const bool cut_by_stop = delta.stop_index >= 0;
  const bool all = delta.finish != FinishReason::None && !cut_by_stop;
  size_t due = 0;
  while (due < waiting_.size() && (all || waiting_[due].begin < shown_))
    out.push_back(std::move(waiting_[due++].token));
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(due));
}

Choice::Choice(const ChoiceOptions& options, const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer),
      logprobs_(options.logprobs),
      token_ids_(options.token_ids),
      parallel_tool_calls_(options.parallel_tool_calls),
      buffer_(tokenizer, options.keep_control) {
  if (options.split_reasoning) {
    splitter_.emplace(options.starts_in_reasoning);
    counter_.emplace(options.starts_in_reasoning);
  }
  if (options.tool_calls == ToolCallFormat::None) return;
  const bool forced = !options.forced_prefix.empty();
  ToolCallOptions tools{options.tool_calls, options.parallel_tool_calls, forced, options.tools};
  tools_ = std::make_unique<ToolCallParser>(tools);
  tools_->push(options.forced_prefix, forced_);
  if (!options.split_reasoning) return;
  tools.known_names_only = true;
  reasoning_tools_ = std::make_unique<ToolCallParser>(std::move(tools));
}

ChoiceUpdate Choice::push(const OutputDelta& delta) {
  ChoiceUpdate update;
  count(delta.tokens);
  finish_ = delta.finish;
  take_text(delta.text, finished(), update);
  if (logprobs_) buffer_.push(delta, update.logprobs);
  if (token_ids_)
    for (const TokenOutput& token : delta.tokens) update.token_ids.push_back(token.token);
  return update;
}

// The tags count as reasoning.
void Choice::count(const std::vector<TokenOutput>& tokens) {
  tokens_ += static_cast<int32_t>(tokens.size());
  if (!counter_) return;
  std::string reasoning, content;  // only the state matters
  for (const TokenOutput& token : tokens) {
    const bool before = counter_->inside();
    counter_->push(tokenizer_->bytes(token.token), reasoning, content);
    reasoning_tokens_ += before || counter_->inside();
  }
}

void Choice::take_text(std::string_view text, bool last, ChoiceUpdate& update) {
  if (!splitter_) return take_content(std::string(text), last, update);
  std::string reasoning, content;
  splitter_->push(text, reasoning, content);
  if (last) splitter_->finish(reasoning, content);
  take_reasoning(std::move(reasoning), last || splitter_->answering(), update);
  take_content(std::move(content), last, update);
}

// last: the block has ended.
void Choice::take_reasoning(std::string text, bool last, ChoiceUpdate& update) {
  if (!reasoning_tools_) {
    update.reasoning = std::move(text);
    return;
  }
  ToolCallParser::Output out;
  reasoning_tools_->push(text, out);
  if (last) reasoning_tools_->finish(out);
  update.reasoning = std::move(out.content);
  update.tool_calls = std::move(out.calls);
}

void Choice::take_content(std::string text, bool last, ChoiceUpdate& update) {
  if (!tools_) {
    update.content = std::move(text);
    return;
  }
  ToolCallParser::Output out = std::exchange(forced_, {});
  tools_->push(text, out);
  if (last) tools_->finish(out);
  update.content = std::move(out.content);
  if (calls_in_reasoning() > 0 && !parallel_tool_calls_) return;
  for (ToolCallDelta& call : out.calls) {
    call.index += calls_in_reasoning();
    update.tool_calls.push_back(std::move(call));
  }
}

const char* Choice::finish_reason() const {
  const char* name = finish_reason_name(finish_);
  const bool called = tools_ && tools_->num_calls() + calls_in_reasoning() > 0;
  return called && finish_ == FinishReason::Stop ? "tool_calls" : name;
}

}  // namespace qwend
