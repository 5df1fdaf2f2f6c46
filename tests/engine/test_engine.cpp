// The engine with its thread: what other threads see.
#include <atomic>
#include <deque>
#include <latch>
#include <numeric>
#include <random>
#include <thread>

#include "tests/support/engine_harness.h"
#include "tests/support/reference_output.h"
// Catch2 last: its CHECK replaces ours.
#include "tests/support/catch2.h"

namespace qwend::test {
namespace {

using std::chrono::milliseconds;
using Kind = SubmitError::Kind;

EngineConfig small_config() {
  EngineConfig c;
  c.max_model_len = 200;
  c.num_kv_blocks = 64;
  c.max_seqs = 8;
  c.max_batch_tokens = 64;
  c.max_queue = 16;
  return c;
}

struct Running {
  // depth: steps in flight.
  Running(EngineConfig config, int32_t depth, std::function<void(const StepInput&)> on_step = {}) {
    auto owned =
        std::make_unique<FakeExecutor>(EngineHarness::kVocab, config.num_kv_blocks, config.block_size, depth);
    owned->on_step = std::move(on_step);
    engine = std::make_unique<Engine>(config, std::move(owned), small_tokenizer());
  }
  Received submit(const GenerationRequest& request) {
    auto stream = engine->submit(request);
    REQUIRE(stream.ok());
    return Received(stream.value(), request.n);
  }
  std::optional<Kind> refusal(const GenerationRequest& request) {
    auto stream = engine->submit(request);
    if (stream.ok()) return std::nullopt;
    REQUIRE(!stream.error().message.empty());
    return stream.error().kind;
  }
  std::unique_ptr<Engine> engine;
};

// Holds the engine thread in a step until opened.
class Gate {
 public:
  void wait() {
    arrived_.count_down();
    open_.wait();
  }
  void wait_until_held() { arrived_.wait(); }
  void open() { open_.count_down(); }

 private:
  std::latch arrived_{1}, open_{1};
};

GenerationRequest endless(int32_t prompt_tokens, int32_t max_tokens) {
  std::vector<int32_t> prompt(prompt_tokens);
  std::iota(prompt.begin(), prompt.end(), 32);
  GenerationRequest request = greedy(std::move(prompt), max_tokens);
  request.stop.ignore_eos = true;
  return request;
}

TEST_CASE("A request runs to its end and leaves nothing behind", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  Running r(small_config(), depth);
  CHECK(r.engine->idle());
  const GenerationRequest request = endless(40, 20);
  Received received = r.submit(request);
  received.wait();
  REQUIRE(received.done);
  // Whoever sees the last delta finds the engine without the request.
  CHECK(r.engine->idle());
  const EngineStats stats = r.engine->stats();
  CHECK(stats.finished_length == 1);
  CHECK(stats.running == 0);
  CHECK(stats.blocks_used == 0);
  CHECK(stats.blocks_free + stats.blocks_cached == stats.blocks_total);
  CHECK(stats.prompt_tokens == 40);
  CHECK(stats.generation_tokens == 20);
  CHECK(stats.steps == 20);
  CHECK(r.engine->check_invariants() == "");
  const ReferenceOutput expected =
      reference_output(request, 0, *small_tokenizer(), EngineHarness::kVocab, 200);
  CHECK(received.sequences[0].text == expected.text);
  CHECK(received.timings.ttft_ms >= received.timings.queue_ms + received.timings.prompt_ms);
}

TEST_CASE("What can't run is refused by kind", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  EngineConfig config = small_config();
  config.num_kv_blocks = 8;  // 128 tokens
  Running r(config, depth);
  CHECK(r.refusal(endless(200, 1)) == Kind::PromptTooLong);
  CHECK(r.refusal(endless(129, 2)) == Kind::NeverFits);
  CHECK(r.refusal(endless(60, 70)) == Kind::NeverFits);
  CHECK_FALSE(r.refusal(endless(60, 69)));
  CHECK_FALSE(r.refusal(endless(128, 1)));

  const auto invalid = [&](auto change) {
    GenerationRequest request = endless(4, 4);
    change(request);
    return r.refusal(request) == Kind::Invalid;
  };
  CHECK(invalid([](auto& q) { q.prompt.clear(); }));
  CHECK(invalid([](auto& q) { q.prompt[1] = -1; }));
  CHECK(invalid([](auto& q) { q.prompt[1] = EngineHarness::kVocab; }));
  CHECK(invalid([](auto& q) { q.n = 0; }));
  CHECK(invalid([](auto& q) { q.prompt_logprobs = -2; }));
  CHECK(invalid([](auto& q) { q.stop.max_tokens = 0; }));
  CHECK(invalid([](auto& q) { q.stop.max_tokens = -1; }));
  CHECK(invalid([](auto& q) { q.stop.min_tokens = -1; }));
  CHECK(invalid([](auto& q) { q.stop.stop = {"x", ""}; }));
  CHECK(invalid([](auto& q) { q.stop.stop_token_ids = {1 << 20}; }));
  CHECK(invalid([](auto& q) { q.sampling.temperature = -0.1f; }));
  CHECK(invalid([](auto& q) { q.sampling.temperature = std::nanf(""); }));
  CHECK(invalid([](auto& q) { q.sampling.top_k = -1; }));
  CHECK(invalid([](auto& q) { q.sampling.top_p = 0.0f; }));
  CHECK(invalid([](auto& q) { q.sampling.min_p = 1.1f; }));
  CHECK(invalid([](auto& q) { q.sampling.typical_p = std::nanf(""); }));
  CHECK(invalid([](auto& q) { q.sampling.repetition_penalty = 0.0f; }));
  CHECK(invalid([](auto& q) { q.sampling.presence_penalty = INFINITY; }));
  CHECK(invalid([](auto& q) { q.sampling.frequency_penalty = std::nanf(""); }));
  CHECK(invalid([](auto& q) { q.sampling.logit_bias = {{-1, 1.0f}}; }));
  CHECK(invalid([](auto& q) { q.sampling.logit_bias = {{1, std::nanf("")}}; }));
  CHECK(invalid([](auto& q) { q.sampling.num_logprobs = 1 << 20; }));
  CHECK_FALSE(invalid([](auto&) {}));
}

TEST_CASE("Settings that can't work are named", "[engine]") {
  const auto message = [](auto change) -> std::string {
    EngineConfig config = small_config();
    change(config);
    try {
      Running r(config, 1);
    } catch (const LoadError& error) {
      return error.what();
    }
    return {};
  };
  CHECK(message([](auto& c) { c.max_batch_tokens = 7; }) ==
        "max_batch_tokens must be at least max_seqs (8), got 7");
  CHECK(message([](auto& c) { c.max_queue = 0; }) == "max_queue must be > 0, got 0");
}

TEST_CASE("A full queue refuses, and takes again once requests have started", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  EngineConfig config = small_config();
  config.max_seqs = 1;
  config.max_queue = 3;
  Gate gate;
  Running r(config, depth, [&](const StepInput&) { gate.wait(); });
  std::vector<Received> accepted;
  accepted.push_back(r.submit(endless(4, 2)));
  gate.wait_until_held();  // it runs now
  for (int i = 0; i < 3; ++i) accepted.push_back(r.submit(endless(4, 2)));
  CHECK(r.refusal(endless(4, 2)) == Kind::QueueFull);
  r.engine->cancel(accepted.back().stream->id());
  gate.open();
  for (Received& received : accepted) received.wait();
  CHECK(accepted.back().sequences[0].finish == FinishReason::Cancelled);
  CHECK(accepted[2].sequences[0].finish == FinishReason::Length);
  CHECK_FALSE(r.refusal(endless(4, 2)));
}

TEST_CASE("Health and stats answer while a step runs, and the heartbeat goes on without work", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  Gate gate;
  Running r(small_config(), depth, [&](const StepInput&) { gate.wait(); });
  Received received = r.submit(endless(4, 2));
  gate.wait_until_held();
  CHECK(r.engine->stats().steps == 0);
  const Clock::time_point held = r.engine->last_heartbeat();
  CHECK_FALSE(r.engine->idle());
  gate.open();
  received.wait();
  CHECK(received.done);
  for (int i = 0; i < 2; ++i) {
    const Clock::time_point before = r.engine->last_heartbeat();
    CHECK(before >= held);
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(20);
    while (r.engine->last_heartbeat() == before && Clock::now() < deadline)
      std::this_thread::sleep_for(milliseconds(5));
    CHECK(r.engine->last_heartbeat() > before);
  }
}

TEST_CASE("A failing executor ends every stream with one error and the engine for good", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  EngineConfig config = small_config();
  config.max_seqs = 2;
  Gate gate;
  std::atomic<int> steps = 0;
  Running r(config, depth, [&](const StepInput&) {
    if (++steps == 1) gate.wait();
    if (steps == 4) throw std::runtime_error("device lost");
  });
  std::vector<Received> streams;
  streams.push_back(r.submit(endless(4, 50)));
  gate.wait_until_held();
  GenerationRequest forked = endless(4, 50);
  forked.n = 3;
  streams.push_back(r.submit(forked));
  streams.push_back(r.submit(endless(4, 50)));  // still queued when it happens
  gate.open();
  for (Received& received : streams) {
    received.wait();
    REQUIRE(received.done);
    CHECK(received.error == "device lost");
    int errors = 0;
    for (const Received::One& one : received.sequences) errors += one.finish == FinishReason::Error;
    CHECK(errors == 1);
  }
  CHECK_FALSE(r.engine->alive());
  CHECK(r.engine->idle());
  CHECK(r.refusal(endless(4, 2)) == Kind::Dead);
  r.engine->cancel(streams[0].stream->id());
  CHECK(r.engine->check_invariants() == "");
  CHECK(r.engine->stats().finished_error == 5);
  CHECK(r.engine->stats().blocks_used == 0);
}

TEST_CASE("A sampled token without text fails the engine, not the process", "[engine]") {
  class Wild : public StepExecutor {
   public:
    explicit Wild(int32_t depth) : depth_(depth) {}
    int32_t vocab_size() const override { return EngineHarness::kVocab; }
    int32_t max_in_flight() const override { return depth_; }
    void launch(const StepInput&, std::span<const SamplingRow> rows) override {
      in_flight_.emplace_back(rows.size(), SampledToken{1 << 20, 0.0f, {}});
    }
    std::vector<SampledToken> collect() override {
      auto sampled = std::move(in_flight_.front());
      in_flight_.pop_front();
      return sampled;
    }
    std::vector<float> hidden(int32_t) override { return {}; }

   private:
    const int32_t depth_;
    std::deque<std::vector<SampledToken>> in_flight_;
  };
  Engine engine(small_config(), std::make_unique<Wild>(GENERATE(1, 2)), small_tokenizer());
  auto stream = engine.submit(endless(4, 2));
  REQUIRE(stream.ok());
  Received received(stream.value(), 1);
  received.wait();
  CHECK(received.sequences[0].finish == FinishReason::Error);
  CHECK_FALSE(engine.alive());
}

TEST_CASE("Draining refuses the new and finishes the old; the destructor ends what is left", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  std::vector<Received> streams;
  {
    Running r(small_config(), depth);
    streams.push_back(r.submit(endless(4, 100)));
    r.engine->drain();
    CHECK(r.refusal(endless(4, 2)) == Kind::Draining);
    streams[0].wait();
    CHECK(streams[0].sequences[0].finish == FinishReason::Length);
  }
  {
    Gate gate;
    std::atomic<bool> first = true;
    Running r(small_config(), depth, [&](const StepInput&) {
      if (first.exchange(false)) gate.wait();
    });
    GenerationRequest request = endless(4, 190);
    request.n = 2;
    streams.push_back(r.submit(request));
    gate.wait_until_held();
    streams.push_back(r.submit(request));  // lies in the mailbox
    std::thread opener([&] {
      std::this_thread::sleep_for(milliseconds(20));
      gate.open();
    });
    r.engine.reset();
    opener.join();
  }
  for (size_t i = 1; i < streams.size(); ++i) {
    REQUIRE(streams[i].take());
    CHECK(streams[i].done);
    for (const auto& one : streams[i].sequences) CHECK(one.finish == FinishReason::Cancelled);
  }
}

TEST_CASE("A reader that does not read holds up nobody, and catches up in one piece", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  Running r(small_config(), depth);
  Received lazy = r.submit(endless(4, 100));
  for (int i = 0; i < 5; ++i) {
    Received eager = r.submit(endless(10 + i, 100));
    eager.wait();
    CHECK(eager.done);
  }
  lazy.wait();
  CHECK(lazy.done);
  CHECK(lazy.num_deltas == 1);
  CHECK(lazy.sequences[0].tokens.size() == 100);
}

TEST_CASE("Requests without a seed get different ones", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  Running r(small_config(), depth);
  GenerationRequest request = endless(10, 30);
  request.sampling.temperature = 1.0f;
  Received a = r.submit(request), b = r.submit(request);
  a.wait();
  b.wait();
  CHECK(a.sequences[0].tokens != b.sequences[0].tokens);
}

TEST_CASE("64 clients finish in a pool of 1.2 sequences", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  EngineConfig config = small_config();
  config.num_kv_blocks = 15;  // a request needs 12 or 13
  config.max_queue = 64;
  config.max_seqs = 64;
  Running r(config, depth);
  std::vector<GenerationRequest> requests;
  std::vector<Received> streams;
  for (int32_t i = 0; i < 64; ++i) {
    requests.push_back(endless(100, 95));
    requests.back().prompt[i] = 'x';
    streams.push_back(r.submit(requests.back()));
  }
  for (size_t i = 0; i < 64; ++i) {
    streams[i].wait();
    REQUIRE(streams[i].done);
    const ReferenceOutput expected =
        reference_output(requests[i], 0, *small_tokenizer(), EngineHarness::kVocab, 200);
    CHECK(streams[i].sequences[0].tokens == expected.tokens);
  }
  CHECK(r.engine->stats().blocks_used == 0);
}

TEST_CASE("Many threads submit, read, cancel and look at once", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  EngineConfig config = small_config();
  config.num_kv_blocks = 40;
  Running r(config, depth);
  std::atomic<int> wrong = 0, completed = 0, cancelled = 0, refused = 0;
  const auto client = [&](uint32_t seed) {
    std::mt19937 rng(seed);
    for (int i = 0; i < 60; ++i) {
      GenerationRequest request =
          endless(1 + static_cast<int32_t>(rng() % 90), 1 + static_cast<int32_t>(rng() % 40));
      request.stop.ignore_eos = rng() % 2 == 0;
      request.sampling.temperature = rng() % 2 == 0 ? 0.0f : 0.8f;
      request.sampling.seed = rng();
      request.n = rng() % 4 == 0 ? 3 : 1;
      if (rng() % 20 == 0) request.deadline = Clock::now() + milliseconds(rng() % 5);
      auto stream = r.engine->submit(request);
      if (!stream.ok()) {
        wrong += stream.error().kind != Kind::QueueFull;
        ++refused;
        continue;
      }
      Received received(stream.value(), request.n);
      if (rng() % 3 == 0) {
        received.take(milliseconds(rng() % 3));
        r.engine->cancel(received.stream->id());
      }
      received.wait();
      wrong += !received.done;
      for (int32_t k = 0; k < request.n; ++k) {
        const auto& got = received.sequences[k];
        const bool ended_early = got.finish != FinishReason::Stop && got.finish != FinishReason::Length;
        cancelled += got.finish == FinishReason::Cancelled;
        if (ended_early) continue;
        ++completed;
        const ReferenceOutput expected =
            reference_output(request, k, *small_tokenizer(), EngineHarness::kVocab, 200);
        wrong += got.tokens != expected.tokens || got.text != expected.text || got.finish != expected.finish;
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 6; ++i) threads.emplace_back(client, i);
  std::string unsound;
  for (int i = 0; i < 50 && unsound.empty(); ++i) {
    unsound = r.engine->check_invariants();
    const EngineStats stats = r.engine->stats();
    if (stats.blocks_used + stats.blocks_cached + stats.blocks_free != stats.blocks_total) unsound = "stats";
    std::this_thread::sleep_for(milliseconds(2));
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(unsound == "");
  CHECK(wrong == 0);
  CHECK(completed > 100);
  CHECK(cancelled > 10);
  CHECK(r.engine->idle());
  CHECK(r.engine->stats().blocks_used == 0);
  CHECK(r.engine->check_invariants() == "");
}

}  // namespace
}  // namespace qwend::test
