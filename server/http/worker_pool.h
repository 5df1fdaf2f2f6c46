// Threads for connections that are being served.
#pragma once
#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace qwend::http {

// Grows to one thread a job, up to `max_threads`; threads idle for some seconds end. A handler may wait
// minutes for its stream, so jobs must never queue behind each other. Thread-safe. The destructor runs what
// is queued, then joins.
class WorkerPool {
 public:
  // Throws std::system_error when not even `min_threads` can be started.
  WorkerPool(size_t min_threads, size_t max_threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;

  // `job` must not throw. If the system refuses another thread, the job waits for one that gets free.
  void submit(std::function<void()> job);
  size_t num_threads() const;

 private:
  static void* thread_main(void* pool);
  void work();
  bool start_thread();  // mutex_ held
  void join_finished(std::unique_lock<std::mutex>& lock);

  const size_t min_threads_, max_threads_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, ended_;
  std::deque<std::function<void()>> jobs_;
  std::vector<pthread_t> finished_;  // ended, to be joined
  size_t num_threads_ = 0, num_idle_ = 0;
  bool stopping_ = false;
};

}  // namespace qwend::http
