#include <random>
#include <thread>

#include "engine/output_stream.h"
#include "tests/support/catch2.h"

using namespace qwend;
using std::chrono::milliseconds, std::chrono::seconds;

namespace {

OutputDelta delta_of(int32_t index, const char* text, int32_t token,
                     FinishReason finish = FinishReason::None) {
  OutputDelta delta;
  delta.index = index;
  delta.text = text;
  delta.tokens = {{token, 0.0f, {}}};
  delta.finish = finish;
  return delta;
}

OutputDelta last_delta() {
  OutputDelta delta;
  delta.finish = FinishReason::Stop;
  delta.last = true;
  return delta;
}

}  // namespace

TEST_CASE("A reader that keeps up sees every delta by itself", "[engine][output_stream]") {
  OutputStream stream(1);
  for (size_t i = 0; i < OutputStream::kMaxBacklog; ++i)
    stream.push(delta_of(0, "a", static_cast<int32_t>(i)));
  const auto deltas = stream.take_all(milliseconds(0));
  REQUIRE(deltas.size() == OutputStream::kMaxBacklog);
  for (size_t i = 0; i < deltas.size(); ++i) {
    CHECK(deltas[i].tokens.size() == 1);
    CHECK(deltas[i].tokens[0].token == static_cast<int32_t>(i));
  }
  CHECK(stream.take_all(milliseconds(1)).empty());
}

TEST_CASE("A reader far behind gets large pieces; order, ends and indices stay", "[engine][output_stream]") {
  OutputStream stream(1);
  for (size_t i = 0; i < OutputStream::kMaxBacklog; ++i) stream.push(delta_of(0, "a", 1));
  stream.push(delta_of(0, "b", 2));
  stream.push(delta_of(1, "x", 3));
  stream.push(delta_of(0, "c", 4, FinishReason::Stop));
  stream.push(delta_of(1, "y", 5));
  stream.push(delta_of(1, "z", 6, FinishReason::Length));
  const auto deltas = stream.take_all(milliseconds(0));
  REQUIRE(deltas.size() == 4);
  CHECK(deltas[0].text == std::string(OutputStream::kMaxBacklog, 'a') + "b");
  CHECK(deltas[0].tokens.size() == OutputStream::kMaxBacklog + 1);
  CHECK(deltas[1].text == "x");
  CHECK(deltas[2].finish == FinishReason::Stop);
  CHECK(deltas[3].text == "yz");
  CHECK(deltas[3].finish == FinishReason::Length);
}

TEST_CASE("A reader that collects gets what comes in that time", "[engine][output_stream]") {
  OutputStream stream(1);
  stream.push(delta_of(0, "a", 1));
  const auto begin = Clock::now();
  std::thread engine([&] {
    std::this_thread::sleep_for(milliseconds(5));
    stream.push(delta_of(0, "b", 2));
  });
  const auto deltas = stream.take_all(seconds(10), begin + milliseconds(200));
  CHECK(Clock::now() - begin >= milliseconds(200));
  CHECK(Clock::now() - begin < seconds(5));  // not the timeout: something was there
  CHECK(deltas.size() == 2);
  engine.join();
}

TEST_CASE("The end, and what comes after the collecting, wakes a reader at once", "[engine][output_stream]") {
  for (const bool ends : {true, false}) {
    OutputStream stream(1);
    const auto begin = Clock::now();
    std::thread engine([&] {
      std::this_thread::sleep_for(milliseconds(20));
      stream.push(ends ? last_delta() : delta_of(0, "a", 1));
    });
    const auto deltas = stream.take_all(seconds(30), begin + (ends ? seconds(30) : milliseconds(1)));
    CHECK(Clock::now() - begin < seconds(15));
    CHECK(deltas.size() == 1);
    engine.join();
  }
}

TEST_CASE("Collecting beyond the timeout ends with it", "[engine][output_stream]") {
  OutputStream stream(1);
  stream.push(delta_of(0, "a", 1));
  const auto begin = Clock::now();
  CHECK(stream.take_all(milliseconds(10), begin + seconds(30)).size() == 1);
  CHECK(Clock::now() - begin < seconds(15));
}

TEST_CASE("Nothing is lost between a pushing and a taking thread", "[engine][output_stream]") {
  constexpr int32_t kNumTokens = 20'000;
  OutputStream stream(1);
  std::thread engine([&] {
    std::mt19937 rng(1);
    for (int32_t token = 0; token < kNumTokens; ++token) {
      stream.push(delta_of(0, "a", token));
      if (rng() % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(rng() % 500));
    }
    stream.push(last_delta());
  });
  std::mt19937 rng(2);
  int32_t next = 0;
  for (bool last = false; !last;) {
    const auto deltas = stream.take_all(seconds(20), Clock::now() + milliseconds(rng() % 3));
    if (deltas.empty()) break;  // twenty seconds of nothing: a wake-up was lost
    for (const OutputDelta& delta : deltas) {
      last = delta.last;
      for (const TokenOutput& output : delta.tokens) next += output.token == next;
    }
  }
  engine.join();
  CHECK(next == kNumTokens);
}
