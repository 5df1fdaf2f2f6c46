#include "engine/output_stream.h"

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

}  // namespace

void OutputStream::push(OutputDelta delta) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(delta));
  }
  ready_.notify_one();
}

std::deque<OutputDelta> OutputStream::take_all(std::chrono::milliseconds timeout) {
  std::deque<OutputDelta> taken;
  {
    std::unique_lock lock(mutex_);
    // A wait of no time would still sleep for the timer's slack.
    if (timeout.count() > 0) ready_.wait_for(lock, timeout, [&] { return !queue_.empty(); });
    taken.swap(queue_);
  }
  std::deque<OutputDelta> merged;
  for (OutputDelta& delta : taken) {
    if (!merged.empty() && merged.back().index == delta.index && merged.back().finish == FinishReason::None) {
      merge(merged.back(), std::move(delta));
    } else {
      merged.push_back(std::move(delta));
    }
  }
  return merged;
}

}  // namespace qwend
