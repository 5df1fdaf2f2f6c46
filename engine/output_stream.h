// The way back: one queue per request from the engine thread to the thread that answers the client.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "engine/types.h"

namespace qwend {

// Thread-safe. The engine pushes, and never waits for a reader: the lock is only ever held for a push or a
// swap. One consumer takes. A reader that does not come costs memory, bounded by max_tokens * n deltas.
class OutputStream {
 public:
  explicit OutputStream(RequestId id) : id_(id) {}
  RequestId id() const { return id_; }
  void push(OutputDelta delta);
  // All that is queued, in order; waits up to `timeout` for something. Before `collect_until` only the
  // request's end wakes the consumer: a wake-up costs more than a small model's token, and one that finds
  // several tokens pays once for all. Empty after the timeout. A reader more than kMaxBacklog deltas behind
  // catches up in large pieces: neighbours of the same sequence become one delta.
  std::vector<OutputDelta> take_all(std::chrono::milliseconds timeout, Clock::time_point collect_until = {});

  static constexpr size_t kMaxBacklog = 64;

 private:
  enum class Awaits { Nothing, Delta, End };
  void wait(std::unique_lock<std::mutex>& lock, Awaits what, Clock::time_point until);
  bool has(Awaits what) const { return what == Awaits::End ? ended_ : !queue_.empty(); }

  const RequestId id_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<OutputDelta> queue_;
  Awaits awaits_ = Awaits::Nothing;  // what the consumer sleeps for; anything else does not wake it
  bool ended_ = false;               // the last delta has been pushed
};

}  // namespace qwend
