// The way into the engine thread: the one queue of commands.
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/run/active_request.h"
#include "engine/types.h"

namespace qwend {

// Thread-safe. Any thread posts, the engine thread takes. Posting never waits longer than a swap of vectors
// takes. Bounded by the engine's limit on queued requests (submit() holds a ticket for each).
class Mailbox {
 public:
  struct Mail {
    std::vector<std::unique_ptr<ActiveRequest>> requests;
    std::vector<RequestId> cancelled;                // applied after `requests`
    std::vector<std::function<void()>> inspections;  // run between two steps
    bool stop = false;
    bool empty() const { return requests.empty() && cancelled.empty() && inspections.empty() && !stop; }
  };

  bool submit(std::unique_ptr<ActiveRequest> request);  // false once closed
  void cancel(RequestId id);
  void inspect(std::function<void()> inspection);
  void stop();
  // No request is taken any more; those already posted are still delivered by the next take().
  void close();
  // Everything posted so far; waits for the first up to `timeout`. stop, once posted, stays.
  Mail take(std::chrono::milliseconds timeout);

 private:
  template <class Change>
  void post(Change change);

  std::mutex mutex_;
  std::condition_variable posted_;
  Mail mail_;
  bool closed_ = false;
};

}  // namespace qwend
