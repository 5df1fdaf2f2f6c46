#include <random>

#include "server/handlers/write_pace.h"
#include "tests/support/catch2.h"

using namespace qwend;
using std::chrono::milliseconds, std::chrono::microseconds;

namespace {

const Clock::time_point kNow{std::chrono::hours(1000) + microseconds(12'345)};

Clock::duration since_multiple(Clock::time_point time, milliseconds period) {
  return time.time_since_epoch() % period;
}

}  // namespace

TEST_CASE("a stream that has the model for itself does not wait", "[server][write_pace]") {
  CHECK(next_write(kNow, 0) == kNow);
  CHECK(next_write(kNow, 1) == kNow);
}

TEST_CASE("the period grows with the streams, up to its bound", "[server][write_pace]") {
  struct Case {
    int32_t running;
    milliseconds period;
  };
  for (const auto& [running, period] :
       {Case{2, milliseconds(1)}, Case{3, milliseconds(1)}, Case{4, milliseconds(2)},
        Case{6, milliseconds(4)}, Case{32, milliseconds(16)}, Case{33, milliseconds(16)},
        Case{34, milliseconds(32)}, Case{64, milliseconds(32)}, Case{100'000, kMaxWritePeriod}}) {
    INFO(running << " sequences");
    const auto at = next_write(kNow, running);
    CHECK(since_multiple(at, period) == Clock::duration(0));
    CHECK(next_write(at, running) == at + period);
    // At a multiple the next one counts: who has just written then would find nothing.
    CHECK(next_write(at - microseconds(1), running) == at);
  }
}

TEST_CASE("no token waits longer than the bound", "[server][write_pace]") {
  std::mt19937 rng(1);
  for (int i = 0; i < 1000; ++i) {
    const auto now = kNow + microseconds(rng() % 1'000'000);
    const auto running = static_cast<int32_t>(2 + rng() % 500);
    const auto at = next_write(now, running);
    CHECK(at > now);
    CHECK(at - now <= kMaxWritePeriod);
  }
}

TEST_CASE("streams write at the same moments, whenever they began and whatever count they saw",
          "[server][write_pace]") {
  const auto at = next_write(kNow, 64);
  for (auto now = at - kMaxWritePeriod; now < at; now += microseconds(700)) CHECK(next_write(now, 64) == at);
  for (const int32_t running : {2, 5, 20, 33}) {
    CHECK(next_write(at - microseconds(1), running) == at);
  }
}
