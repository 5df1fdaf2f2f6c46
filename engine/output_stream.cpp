#include "engine/output_stream.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace qwend {
namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// Makes one delta of two that follow each other in the same sequence.
void merge(OutputDelta& earlier, OutputDelta&& later) {
  earlier.text += later.text;
  append(earlier.tokens, std::move(later.tokens));
  append(earlier.prompt_logprobs, std::move(later.prompt_logprobs));
  later.text = std::move(earlier.text);
  later.tokens = std::move(earlier.tokens);
  later.prompt_logprobs = std::move(earlier.prompt_logprobs);
  earlier = std::move(later);
}

std::vector<OutputDelta> merged(std::vector<OutputDelta> deltas) {
  std::vector<OutputDelta> pieces;
  for (OutputDelta& delta : deltas) {
    if (!pieces.empty() && pieces.back().index == delta.index && pieces.back().finish == FinishReason::None) {
      merge(pieces.back(), std::move(delta));
    } else {
      pieces.push_back(std::move(delta));
    }
  }
  return pieces;
}

}  // namespace

void OutputStream::push(OutputDelta delta) {
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    ended_ = ended_ || delta.last;
    queue_.push_back(std::move(delta));
    wake = awaits_ != Awaits::Nothing && has(awaits_);
    if (wake) awaits_ = Awaits::Nothing;  // it is on its way: the next delta need not wake it again
  }
  if (wake) ready_.notify_one();
}

std::vector<OutputDelta> OutputStream::take_all(std::chrono::milliseconds timeout,
                                                Clock::time_point collect_until) {
  std::vector<OutputDelta> taken;
  {
    std::unique_lock lock(mutex_);
    // A wait of no time would still sleep for the timer's slack.
    if (timeout.count() > 0) {
      const Clock::time_point begin = Clock::now();
      if (collect_until > begin) wait(lock, Awaits::End, std::min(collect_until, begin + timeout));
      wait(lock, Awaits::Delta, begin + timeout);
    }
    taken.swap(queue_);
  }
  return taken.size() > kMaxBacklog ? merged(std::move(taken)) : taken;
}

void OutputStream::wait(std::unique_lock<std::mutex>& lock, Awaits what, Clock::time_point until) {
  while (!has(what)) {
    awaits_ = what;
    if (ready_.wait_until(lock, until) == std::cv_status::timeout) break;
  }
  awaits_ = Awaits::Nothing;
}

}  // namespace qwend
