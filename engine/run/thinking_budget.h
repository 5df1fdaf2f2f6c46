// Ends a think block that has become too long.
#pragma once
#include <cstdint>
#include <optional>

#include "engine/types.h"

namespace qwend {

// One a sequence; engine thread only. The limit must outlive it. Tokens are drawn ahead of their being seen:
// `num_pending` of them have been drawn and not pushed yet.
class ThinkingBudget {
 public:
  explicit ThinkingBudget(const ThinkingLimit& limit)
      : limit_(&limit), state_(limit.inside ? State::Inside : State::Before) {
    if (limit.inside && limit.max_tokens == 0) state_ = State::Ending;
  }
  // The next token of the output, as drawn.
  void push(int32_t token) {
    switch (state_) {
      case State::Before: state_ = token == limit_->open ? State::Inside : State::Done; break;
      case State::Inside:
        ++used_;
        if (token == limit_->close) state_ = State::Done;
        break;
      case State::Ending:
        if (++num_ended_ == size_of_ending()) state_ = State::Done;
        break;
      case State::Done: break;
    }
    if (state_ == State::Inside && used_ >= limit_->max_tokens) state_ = State::Ending;
  }
  // The only token that may be drawn next, if there is such a one.
  std::optional<int32_t> forced(int32_t num_pending) const {
    const int32_t place = num_ended_ + num_pending;  // pending tokens are part of the ending, see decides()
    if (state_ != State::Ending || place >= size_of_ending()) return std::nullopt;
    return limit_->ending[static_cast<size_t>(place)];
  }
  // Whether what the next draw brings decides about the one after it: it must have been seen by then.
  bool decides(int32_t num_pending) const {
    if (state_ == State::Before) return num_pending >= limit_->max_tokens;
    return state_ == State::Inside && used_ + num_pending + 1 >= limit_->max_tokens;
  }

 private:
  enum class State : uint8_t { Before, Inside, Ending, Done };
  int32_t size_of_ending() const { return static_cast<int32_t>(limit_->ending.size()); }

  const ThinkingLimit* limit_;
  State state_;
  int32_t used_ = 0;       // tokens in the block
  int32_t num_ended_ = 0;  // tokens of the ending
};

}  // namespace qwend
