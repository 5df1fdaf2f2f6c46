#include <atomic>
#include <latch>

#include "server/http/worker_pool.h"
#include "tests/support/catch2.h"

using namespace qwend::http;

TEST_CASE("jobs never queue behind each other, as far as threads go", "[worker_pool]") {
  constexpr int kJobs = 8;
  std::latch together(kJobs);  // each waits for all others
  WorkerPool pool(1, kJobs);
  for (int i = 0; i < kJobs; ++i) pool.submit([&] { together.arrive_and_wait(); });
  together.wait();
  CHECK(pool.num_threads() == kJobs);
}

TEST_CASE("what is queued runs before the pool ends", "[worker_pool]") {
  std::atomic<int> done = 0;
  {
    WorkerPool pool(1, 1);
    for (int i = 0; i < 100; ++i) pool.submit([&] { ++done; });
  }
  CHECK(done == 100);
}
