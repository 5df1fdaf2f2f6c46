// The way back: one queue per request from the engine thread to the thread that answers the client.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "engine/types.h"

namespace qwend {

// Thread-safe. The engine pushes, and never waits for a reader: the lock is only ever held for a push or a
// swap. One consumer takes. A reader that does not come costs memory, bounded by max_tokens * n deltas.
class OutputStream {
 public:
  explicit OutputStream(RequestId id) : id_(id) {}
  RequestId id() const { return id_; }
  void push(OutputDelta delta);
  // Waits until something is there or the time has passed; all that is queued, in order, and empty after the
  // timeout. Neighbours of the same sequence are merged into one delta, so a late reader catches up in large
  // pieces.
  std::deque<OutputDelta> take_all(std::chrono::milliseconds timeout);

 private:
  const RequestId id_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<OutputDelta> queue_;
};

}  // namespace qwend
