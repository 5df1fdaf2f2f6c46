#include "server/openai/reasoning_splitter.h"

#include "server/openai/text_scan.h"

namespace qwend {
namespace {
constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";
}  // namespace

void ReasoningSplitter::push(std::string_view text, std::string& reasoning, std::string& content) {
  held_ += text;
  while (!held_.empty() && step(reasoning, content)) {
  }
}

bool ReasoningSplitter::step(std::string& reasoning, std::string& content) {
  switch (state_) {
    case State::Start: return step_start();
    case State::BlockStart: return skip_newlines(State::Block);
    case State::Block: return step_block(reasoning);
    case State::AnswerStart: return skip_newlines(State::Answer);
    case State::Answer:
      content += held_;
      held_.clear();
      return false;
  }
  return false;
}

bool ReasoningSplitter::step_start() {
  const size_t begin = held_.find_first_not_of(kJsonSpace);
  if (begin == std::string::npos) return false;
  const std::string_view text = std::string_view(held_).substr(begin);
  if (text.starts_with(kOpen)) {
    held_.erase(0, begin + kOpen.size());
    state_ = State::BlockStart;
    return true;
  }
  if (kOpen.starts_with(text)) return false;
  state_ = State::Answer;
  return true;
}

bool ReasoningSplitter::skip_newlines(State next) {
  const size_t begin = held_.find_first_not_of('\n');
  held_.erase(0, begin);  // npos: all of it
  if (begin == std::string::npos) return false;
  state_ = next;
  return true;
}

bool ReasoningSplitter::step_block(std::string& reasoning) {
  const std::string_view text = held_;
  const size_t close = text.find(kClose);
  const bool closed = close != text.npos;
  const std::string_view before =
      closed ? text.substr(0, close) : text.substr(0, text.size() - partial_suffix(text, kClose));
  const std::string_view shown = trim_right(before, "\n");
  reasoning += shown;
  if (closed) {
    held_.erase(0, close + kClose.size());
    state_ = State::AnswerStart;
    return true;
  }
  held_.erase(0, shown.size());
  return false;
}

void ReasoningSplitter::finish(std::string& reasoning, std::string& content) {
  if (state_ == State::Block) reasoning += trim_right(held_, "\n");
  if (state_ == State::Start) content += held_;
  held_.clear();
}

}  // namespace qwend
