// Separates a model's <think> block from its answer, as the text comes.
#pragma once
#include <string>
#include <string_view>

namespace qwend {

// One a choice; one thread at a time. Newlines around the block belong to neither part; what could still be
// a tag or such a newline is held back, so joined pieces never depend on how the text was cut.
class ReasoningSplitter {
 public:
  // `inside`: the prompt ended in an open think block. Otherwise the text may open one, at its very start
  // only.
  explicit ReasoningSplitter(bool inside) : state_(inside ? State::BlockStart : State::Start) {}
  // Appends to the two parts.
  void push(std::string_view text, std::string& reasoning, std::string& content);
  // End of generation: what was held back.
  void finish(std::string& reasoning, std::string& content);
  bool inside() const { return state_ == State::BlockStart || state_ == State::Block; }
  bool answering() const { return state_ == State::AnswerStart || state_ == State::Answer; }

 private:
  enum class State {
    Start,        // nothing but white space yet: may become <think>
    BlockStart,   // newlines after <think>
    Block,        // until </think>
    AnswerStart,  // newlines after </think>
    Answer,
  };
  // Each takes what it can from held_; false when it needs more text.
  bool step(std::string& reasoning, std::string& content);
  bool step_start();
  bool step_block(std::string& reasoning);
  bool skip_newlines(State next);

  State state_;
  std::string held_;
};

}  // namespace qwend
