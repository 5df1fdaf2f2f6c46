#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/catch2.h"

namespace qwend::cpu {

// Waits until `done()`, at most 10 s: the machine may be busy.
template <class Done>
bool await(Done done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("every worker joins a job that lasts", "[kernels][thread_pool]") {
  for (int threads : {1, 2, 3, 16}) {
    ThreadPool pool(threads);
    REQUIRE(pool.size() == threads);
    const std::thread::id caller = std::this_thread::get_id();
    for (int round = 0; round < 3; ++round) {
      // Long past the spinning: parked workers have to be woken.
      if (round > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      std::vector<int> seen(
          static_cast<size_t>(threads));  // plain ints: run() itself must order the accesses
      std::atomic<int> arrived{0};
      bool all_came = false, caller_is_zero = false;
      pool.run([&](int worker) {
        if (seen[static_cast<size_t>(worker)]++ == 0) ++arrived;
        if (worker != 0) return;
        caller_is_zero = std::this_thread::get_id() == caller;
        all_came = await([&] { return arrived == threads; });
      });
      CHECK(all_came);
      CHECK(caller_is_zero);
      CHECK(std::count(seen.begin(), seen.end(), 0) == 0);
    }
  }
}

TEST_CASE("nobody is inside a job that has returned", "[kernels][thread_pool]") {
  ThreadPool pool(6);
  std::vector<int64_t> work(6);
  int64_t total = 0;
  for (int round = 0; round < 3000; ++round) {
    std::atomic<int> next{0};  // on this stack frame: a worker that came late would write to a dead one
    pool.run([&](int worker) {
      while (next++ < 10) ++work[static_cast<size_t>(worker)];
    });
    total = std::accumulate(work.begin(), work.end(), int64_t{0});
    REQUIRE(total == 10 * (round + 1));
  }
}

TEST_CASE("parallel_for covers the range in disjoint pieces", "[kernels][thread_pool]") {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> seen(static_cast<size_t>(count));
        std::atomic<int> bad_pieces{0};
        pool.parallel_for(count, grain, [&](int worker, int64_t begin, int64_t end) {
          if (begin >= end || worker < 0 || worker >= threads) ++bad_pieces;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        CHECK(bad_pieces == 0);
        CHECK(std::count(seen.begin(), seen.end(), 1) == count);
      }
    }
  }
}

TEST_CASE("a slow worker does not hold up the other pieces", "[kernels][thread_pool]") {
  ThreadPool pool(2);
  std::vector<int> owner(20, -1);
  std::atomic<int> others{0};
  bool others_done = false;
  pool.parallel_for(20, 1, [&](int worker, int64_t begin, int64_t) {
    owner[static_cast<size_t>(begin)] = worker;
    if (begin == 0) {
      others_done = await([&] { return others == 19; });
    } else {
      ++others;
    }
  });
  CHECK(others_done);
  CHECK(std::count(owner.begin(), owner.end(), owner[0]) == 1);
}

}  // namespace qwend::cpu
