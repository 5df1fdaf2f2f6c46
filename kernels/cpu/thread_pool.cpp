#include "kernels/cpu/thread_pool.h"

#include "kernels/cpu/cpu_features.h"

namespace qwend::cpu {
namespace {

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` differs from `old`; returns the new value. Spins first, then parks.
int await_change(const std::atomic<int>& value, int old, int spins) {
  for (int i = 0; i < spins; ++i) {
    const int now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    pause_cpu();
  }
  for (;;) {
    const int now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    value.wait(old, std::memory_order_acquire);
  }
}

constexpr int kSpins = 2000;  // about 20 us on current server cores

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int count = threads > 0 ? threads : available_cores();
  spins_ = count <= available_cores() ? kSpins : 0;
  workers_.reserve(static_cast<size_t>(count) - 1);
  for (int worker = 1; worker < count; ++worker) {
    workers_.emplace_back([this, worker] { worker_loop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::dispatch(Job job, void* body) {
  if (workers_.empty()) return job(body, 0);
  job_ = job;
  body_ = body;
  inside_.store(0, std::memory_order_release);  // open
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  job(body, 0);
  int inside = inside_.fetch_or(kClosed, std::memory_order_acq_rel) | kClosed;
  while (inside != kClosed) inside = await_change(inside_, inside, spins_);
}

bool ThreadPool::enter() {
  int inside = inside_.load(std::memory_order_relaxed);
  while ((inside & kClosed) == 0) {
    if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadPool::worker_loop(int worker) {
  for (int epoch = 0;;) {
    epoch = await_change(epoch_, epoch, spins_);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (!enter()) continue;
    job_(body_, worker);
    if (inside_.fetch_sub(1, std::memory_order_acq_rel) == kClosed + 1) inside_.notify_one();
  }
}

}  // namespace qwend::cpu
