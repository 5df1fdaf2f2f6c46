// The CPU backend's threads: workers that spin for a moment, then park.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace qwend::cpu {

// A fixed team of `size()` workers of which the calling thread is number 0. Ops of a step follow each other
// within microseconds, so an idle worker spins for about 20 us before it parks in the kernel; a team larger
// than the machine never spins. An op waits for workers that are in the middle of it, never for one that has
// not come yet: on a busy machine that one may be waiting for a core.
//
// Thread-safety: one thread at a time may call run() and parallel_for(), and never from inside a body.
// Everything written before the call is visible to the bodies, and everything they wrote to the caller after
// it. Bodies must not throw.
class ThreadPool {
 public:
  // threads 0: one for each core this process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // body(0) on the caller and, until that returns, body(worker) on every other worker as it comes. They have
  // to take their work from a shared counter: a worker may find none left, or never come. Returns when no
  // body is running.
  template <class Body>
  void run(Body&& body) {
    dispatch([](void* b, int worker) { (*static_cast<std::remove_reference_t<Body>*>(b))(worker); },
             const_cast<void*>(static_cast<const void*>(&body)));
  }

  // body(begin, end), or body(worker, begin, end), over disjoint pieces of 0..count, each of `grain` items
  // (the last may be shorter). Workers take the next piece when they have finished one, so a core that is
  // slow or busy elsewhere does not hold up the rest. Which worker gets which piece varies: results must not
  // depend on it. Runs on the caller alone when there is one piece.
  template <class Body>
  void parallel_for(int64_t count, int64_t grain, Body&& body) {
    auto call = [&](int worker, int64_t begin, int64_t end) {
      if constexpr (std::is_invocable_v<Body, int, int64_t, int64_t>) {
        body(worker, begin, end);
      } else {
        body(begin, end);
      }
    };
    if (count <= grain || size() == 1) {
      if (count > 0) call(0, 0, count);
      return;
    }
    next_piece_.store(0, std::memory_order_relaxed);
    run([&](int worker) {
      for (;;) {
        const int64_t piece = next_piece_.fetch_add(1, std::memory_order_relaxed);
        if (piece * grain >= count) return;
        call(worker, piece * grain, std::min(count, (piece + 1) * grain));
      }
    });
  }

 private:
  using Job = void (*)(void* body, int worker);
  void dispatch(Job job, void* body);
  bool enter();
  void worker_loop(int worker);

  static constexpr int kClosed = 1 << 30;

  // Written while the job is closed and nobody is inside; read only from inside.
  Job job_ = nullptr;
  void* body_ = nullptr;
  int spins_;
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<int> epoch_{0};         // raised once a job; idle workers wait for a change
  alignas(64) std::atomic<int> inside_{kClosed};  // workers inside the job, + kClosed once nobody may enter
  alignas(64) std::atomic<int64_t> next_piece_{0};
  std::vector<std::thread> workers_;
};

}  // namespace qwend::cpu
