// The way back: one queue per request from the engine thread to the thread that answers the client.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "engine/types.h"

namespace qwend {

// Thread-safe. The engine pushes (never blocks); one consumer waits. The number of queued deltas is bounded by max_tokens * n.
// Consecutive deltas of the same sequence may be merged by the consumer's take_all().
class OutputStream {
 public:
  explicit OutputStream(RequestId id) : id_(id) {}
  RequestId id() const { return id_; }
  void push(OutputDelta delta);
  // Waits until something is there or the time has passed; all that is queued, in order.
  std::deque<OutputDelta> take_all(std::chrono::milliseconds timeout);

 private:
  const RequestId id_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<OutputDelta> queue_;
};

}  // namespace qwend
