#include "server/http/worker_pool.h"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace qwend::http {

namespace {

// Handlers parse bounded JSON and render templates of bounded depth; only pages that are touched take memory.
constexpr size_t kStackSize = 1 << 20;
constexpr auto kIdleTime = std::chrono::seconds(10);

}  // namespace

WorkerPool::WorkerPool(size_t min_threads, size_t max_threads)
    : min_threads_(min_threads), max_threads_(max_threads) {
  std::unique_lock lock(mutex_);
  for (size_t i = 0; i < min_threads; ++i) {
    if (start_thread()) continue;
    const int error = errno;
    stopping_ = true;
    wake_.notify_all();
    ended_.wait(lock, [&] { return num_threads_ == 0; });
    join_finished(lock);
    throw std::system_error(error, std::generic_category(), "cannot start a worker thread");
  }
}

WorkerPool::~WorkerPool() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
  ended_.wait(lock, [&] { return num_threads_ == 0; });
  join_finished(lock);
}

size_t WorkerPool::num_threads() const {
  const std::lock_guard lock(mutex_);
  return num_threads_;
}

void WorkerPool::submit(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  jobs_.push_back(std::move(job));
  if (jobs_.size() > num_idle_ && num_threads_ < max_threads_) start_thread();
  wake_.notify_one();
  if (!finished_.empty()) join_finished(lock);
}

bool WorkerPool::start_thread() {
  pthread_attr_t attributes;
  pthread_t thread;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackSize);
  const int error = ::pthread_create(&thread, &attributes, &WorkerPool::thread_main, this);
  ::pthread_attr_destroy(&attributes);
  errno = error;
  if (error == 0) ++num_threads_;
  return error == 0;
}

// Threads in finished_ have left work(); joining them is short.
void WorkerPool::join_finished(std::unique_lock<std::mutex>& lock) {
  const std::vector<pthread_t> threads = std::exchange(finished_, {});
  lock.unlock();
  for (pthread_t thread : threads) ::pthread_join(thread, nullptr);
  lock.lock();
}

void* WorkerPool::thread_main(void* pool) {
  static_cast<WorkerPool*>(pool)->work();
  return nullptr;
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (jobs_.empty()) {
      if (stopping_) break;
      ++num_idle_;
      const bool woken = wake_.wait_for(lock, kIdleTime, [&] { return stopping_ || !jobs_.empty(); });
      --num_idle_;
      if (!woken && num_threads_ > min_threads_) break;
      continue;
    }
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
  }
  --num_threads_;
  finished_.push_back(::pthread_self());
  ended_.notify_all();
}

}  // namespace qwend::http
