#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/catch2.h"

namespace qwend::cpu {

TEST_CASE("run reaches every worker once and joins them", "[kernels][thread_pool]") {
  for (int threads : {1, 2, 3, 16}) {
    ThreadPool pool(threads);
    REQUIRE(pool.size() == threads);
    std::vector<int> visits(
        static_cast<size_t>(threads));  // plain ints: run() itself must order the accesses
    const std::thread::id caller = std::this_thread::get_id();
    bool caller_is_zero = false;
    for (int round = 1; round <= 200; ++round) {
      pool.run([&](int worker) {
        ++visits[static_cast<size_t>(worker)];
        if (worker == 0) caller_is_zero = std::this_thread::get_id() == caller;
      });
      REQUIRE(std::accumulate(visits.begin(), visits.end(), 0) == round * threads);
    }
    CHECK(caller_is_zero);
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
  pool.parallel_for(20, 1, [&](int worker, int64_t begin, int64_t) {
    owner[static_cast<size_t>(begin)] = worker;
    if (begin == 0) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  CHECK(owner[0] == 0);
  CHECK(std::count(owner.begin(), owner.end(), 1) == 19);
}

TEST_CASE("parked workers wake up", "[kernels][thread_pool]") {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long past the spinning
    std::vector<int> visits(3);
    pool.run([&](int worker) { visits[static_cast<size_t>(worker)] = 1; });
    CHECK(visits == std::vector<int>{1, 1, 1});
  }
}

}  // namespace qwend::cpu
