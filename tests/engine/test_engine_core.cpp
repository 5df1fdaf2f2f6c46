// The engine step by step: what one request sees in each situation it can meet.
#include <numeric>

#include "tests/support/engine_harness.h"
#include "tests/support/reference_output.h"
// Catch2 last: its CHECK replaces ours.
#include "tests/support/catch2.h"

namespace qwend::testing {
namespace {

EngineConfig config(int32_t num_blocks = 64, int32_t max_seqs = 8, int32_t max_batch_tokens = 64) {
  EngineConfig c;
  c.max_model_len = 256;
  c.num_kv_blocks = num_blocks;
  c.max_seqs = max_seqs;
  c.max_batch_tokens = max_batch_tokens;
  c.prompt_logit_rows = 8;
  return c;
}

std::vector<int32_t> prompt_of(int32_t length, int32_t first = 0) {
  std::vector<int32_t> prompt(length);
  std::iota(prompt.begin(), prompt.end(), first);
  for (int32_t& token : prompt) token = 'a' + token % 26;
  return prompt;
}

GenerationRequest endless(std::vector<int32_t> prompt, int32_t max_tokens) {
  GenerationRequest request = greedy(std::move(prompt), max_tokens);
  request.stop.ignore_eos = true;
  return request;
}

ReferenceOutput reference(const GenerationRequest& request, int32_t index = 0) {
  return reference_output(request, index, *TinyVocabulary::tokenizer(), EngineHarness::kVocab, 256);
}

TEST_CASE("Greedy output is the same alone, chunked, cached, batched, preempted and n > 1", "[engine]") {
  const GenerationRequest request = endless(prompt_of(70), 50);
  const std::vector<int32_t> expected = reference(request).tokens;

  EngineHarness alone(config());
  Received cold = alone.submit(request);
  alone.run();
  REQUIRE(cold.take());
  CHECK(cold.sequences[0].tokens == expected);
  CHECK(cold.usage.cached_tokens == 0);
  Received cached = alone.submit(request);
  alone.run();
  REQUIRE(cached.take());
  CHECK(cached.sequences[0].tokens == expected);
  CHECK(cached.usage.cached_tokens == 64);
  CHECK(cached.usage.completion_tokens == 50);

  EngineHarness chunked(config(64, 1, 3));
  Received in_chunks = chunked.submit(request);
  chunked.run();
  REQUIRE(in_chunks.take());
  CHECK(in_chunks.sequences[0].tokens == expected);
  CHECK(chunked.executor.max_tokens == 3);

  for (const int32_t num_blocks : {64, 10}) {  // roomy, and so small that two sequences preempt each other
    EngineHarness batched(config(num_blocks));
    GenerationRequest forked = request;
    forked.n = 3;
    Received n3 = batched.submit(forked);
    std::vector<Received> others;
    for (int32_t i = 0; i < 5; ++i) others.push_back(batched.submit(endless(prompt_of(60, i), 60)));
    Received last = batched.submit(request);
    while (!batched.core.idle()) {
      batched.step();
      REQUIRE(batched.core.check() == "");
    }
    REQUIRE(n3.take());
    REQUIRE(last.take());
    for (const Received::One& one : n3.sequences) CHECK(one.tokens == expected);
    CHECK(last.sequences[0].tokens == expected);
    CHECK((batched.core.stats().preemptions > 0) == (num_blocks == 10));
  }
}

TEST_CASE("n sequences share the prompt's blocks and draw different tokens", "[engine]") {
  EngineHarness h(config());
  GenerationRequest request = endless(prompt_of(64), 40);
  request.sampling.temperature = 1.0f;
  request.sampling.seed = 11;
  request.n = 4;
  request.use_prefix_cache = GENERATE(true, false);
  Received received = h.submit(request);
  h.step();  // the prompt
  h.step();
  CHECK(h.core.stats().running == 4);
  // Three full blocks shared (the fourth's last token each computes itself), and one or two each.
  CHECK(h.core.stats().blocks_used <= 3 + 4 * 2);
  const int64_t prompt_work = h.executor.num_tokens;
  CHECK(prompt_work <= 64 + 3 * 16 + 1);
  h.run();
  REQUIRE(received.take());
  for (int32_t i = 0; i < 4; ++i) {
    CHECK(received.sequences[i].tokens == reference(request, i).tokens);
    for (int32_t k = 0; k < i; ++k) CHECK(received.sequences[i].tokens != received.sequences[k].tokens);
  }
  CHECK(received.usage.prompt_tokens == 64);
  CHECK(received.usage.completion_tokens == 160);
}

TEST_CASE("The next turn of a conversation finds prompt and answer in the cache", "[engine]") {
  EngineHarness h(config());
  Received first = h.submit(endless(prompt_of(30), 40));
  h.run();
  REQUIRE(first.take());
  std::vector<int32_t> next = prompt_of(30);
  next.insert(next.end(), first.sequences[0].tokens.begin(), first.sequences[0].tokens.end());
  next.push_back('?');
  Received second = h.submit(endless(next, 5));
  h.run();
  REQUIRE(second.take());
  CHECK(second.usage.cached_tokens == 64);  // 69 computed: the last token generated never is
  CHECK(h.core.stats().prefix_hits == 64);
  CHECK(h.core.stats().prefix_queries == 30 + 71);
  CHECK(second.sequences[0].tokens == reference(endless(next, 5)).tokens);
}

TEST_CASE("More sequences than places run in waves", "[engine]") {
  EngineHarness h(config(64, 3));
  GenerationRequest request = endless(prompt_of(20), 10);
  request.n = 10;
  Received received = h.submit(request);
  int32_t most = 0;
  while (!h.core.idle()) {
    h.step();
    most = std::max(most, h.core.stats().running);
  }
  REQUIRE(received.take());
  CHECK(most == 3);
  CHECK(received.done);
  CHECK(h.core.stats().finished_length == 10);
}

TEST_CASE("Prompt log-probabilities come once, bypass the cache and fill it", "[engine]") {
  EngineHarness h(config());
  Received warm = h.submit(endless(prompt_of(50), 1));
  h.run();
  GenerationRequest request = endless(prompt_of(50), 0);
  request.prompt_logprobs = 2;
  request.n = GENERATE(1, 2);
  Received echo = h.submit(request);
  h.run();
  REQUIRE(echo.take());
  CHECK(echo.done);
  REQUIRE(echo.prompt_logprobs.size() == 50);
  CHECK(echo.prompt_logprobs[0].token == 'a');
  CHECK(echo.prompt_logprobs[0].top.empty());
  for (size_t i = 1; i < 50; ++i) CHECK(echo.prompt_logprobs[i].top.size() == 2);
  CHECK(echo.usage.cached_tokens == 0);
  CHECK(echo.usage.completion_tokens == 0);
  CHECK(echo.sequences[0].finish == FinishReason::Length);
  CHECK(h.executor.max_rows <= 8);

  GenerationRequest with_output = endless(prompt_of(50), 3);
  with_output.prompt_logprobs = 0;
  Received both = h.submit(with_output);
  h.run();
  REQUIRE(both.take());
  CHECK(both.prompt_logprobs.size() == 50);
  CHECK(both.sequences[0].tokens == reference(with_output).tokens);

  Received plain = h.submit(endless(prompt_of(50), 1));
  h.run();
  REQUIRE(plain.take());
  CHECK(plain.usage.cached_tokens == 48);
}

TEST_CASE("A prompt of one token has no log-probability to tell", "[engine]") {
  EngineHarness h(config());
  GenerationRequest request = endless({'x'}, 0);
  request.prompt_logprobs = 5;
  Received received = h.submit(request);
  h.run();
  REQUIRE(received.take());
  CHECK(received.prompt_logprobs.size() == 1);
  CHECK(received.done);
}

TEST_CASE("Log-probabilities travel with their tokens", "[engine]") {
  EngineHarness h(config());
  GenerationRequest request = endless(prompt_of(5), 4);
  request.sampling.num_logprobs = 3;
  Received received = h.submit(request);
  h.run();
  REQUIRE(received.take());
  REQUIRE(received.sequences[0].outputs.size() == 4);
  for (const TokenOutput& output : received.sequences[0].outputs) {
    REQUIRE(output.top.size() == 3);
    CHECK(output.top[0].token == output.token);  // greedy
    CHECK(output.top[0].logprob == output.logprob);
    CHECK(output.logprob < 0);
  }
}

TEST_CASE("A cancelled request gives its blocks back in every phase, a thousand times", "[engine]") {
  EngineHarness h(config(40, 4, 16));
  enum Phase { Queued, Prefill, Decode, Siblings, WaitingSiblings };
  Received neighbour = h.submit(endless(prompt_of(9), 200));  // runs all the time
  h.step();
  for (int32_t round = 0; round < 1000; ++round) {
    const Phase phase = static_cast<Phase>(round % 5);
    GenerationRequest request = endless(prompt_of(40, round), 100);
    if (phase == Siblings) request.n = 3;
    if (phase == WaitingSiblings) request.n = 20;
    Received received = h.submit(request);
    const RequestId id = h.last_id;
    const int32_t num_steps = phase == Queued ? 0 : phase == Prefill ? 1 : 9;
    for (int32_t i = 0; i < num_steps; ++i) h.step();
    const EngineStats before = h.core.stats();
    h.core.cancel(id);
    h.core.cancel(id);  // a second time: harmless
    h.core.publish();
    INFO("round " << round);
    REQUIRE(h.core.check() == "");
    REQUIRE(received.take());
    REQUIRE(received.done);
    for (const Received::One& one : received.sequences) REQUIRE(one.finish == FinishReason::Cancelled);

    REQUIRE(neighbour.take());
    const int32_t neighbours = neighbour.done ? 0 : 1;
    const int32_t computed = 9 + static_cast<int32_t>(neighbour.sequences[0].tokens.size()) - 1;
    REQUIRE(before.running >= neighbours + (phase == Siblings ? 3 : phase == Queued ? 0 : 1));
    REQUIRE((before.waiting > 0) == (phase == Queued || phase == WaitingSiblings));
    REQUIRE(h.core.stats().running == neighbours);
    REQUIRE(h.core.stats().waiting == 0);
    REQUIRE(h.core.stats().blocks_used == neighbours * (computed + 15) / 16);
    if (neighbour.done) {
      neighbour = h.submit(endless(prompt_of(9), 200));
      h.step();
    }
  }
  h.run();
  CHECK(h.core.stats().blocks_used == 0);
}

TEST_CASE("Deadlines: in the queue, and while running with what there is", "[engine]") {
  EngineHarness h(config(64, 1));
  const Clock::time_point start = Clock::now();
  GenerationRequest slow = endless(prompt_of(10), 100);
  slow.deadline = start + std::chrono::seconds(100);
  Received running = h.submit(slow, start);
  h.step();
  GenerationRequest waits = endless(prompt_of(10), 100);
  waits.queue_deadline = start + std::chrono::seconds(50);
  waits.n = 3;
  Received queued = h.submit(waits, start);
  h.step();

  h.core.expire(start + std::chrono::seconds(49));
  h.core.publish();
  REQUIRE(queued.take());
  CHECK_FALSE(queued.done);

  h.core.expire(start + std::chrono::seconds(50));
  h.core.publish();
  REQUIRE(queued.take());
  CHECK(queued.done);
  CHECK(queued.num_deltas == 1);
  CHECK(queued.sequences[2].finish == FinishReason::QueueTimeout);
  CHECK_FALSE(running.done);

  h.core.expire(start + std::chrono::seconds(100));
  h.core.publish();
  REQUIRE(running.take());
  CHECK(running.done);
  CHECK(running.sequences[0].finish == FinishReason::Deadline);
  CHECK(running.sequences[0].tokens.size() == 2);
  CHECK(running.usage.completion_tokens == 2);
  CHECK(h.core.idle());
  CHECK(h.core.stats().finished_deadline == 4);  // sequences
  CHECK(h.core.stats().blocks_used == 0);
}

TEST_CASE("A request that ran keeps its place when its queue deadline passes", "[engine]") {
  EngineHarness h(config());
  const Clock::time_point start = Clock::now();
  GenerationRequest request = endless(prompt_of(10), 5);
  request.queue_deadline = start + std::chrono::seconds(1);
  Received received = h.submit(request, start);
  h.step();
  h.core.expire(start + std::chrono::seconds(2));
  h.run();
  REQUIRE(received.take());
  CHECK(received.sequences[0].finish == FinishReason::Length);
}

TEST_CASE("Sampling rows say what the request asked for", "[engine]") {
  ActiveRequest request(
      7,
      [] {
        GenerationRequest r = greedy(prompt_of(20), 10);
        r.sampling = {0.5f, 40, 0.9f, 0.1f, 0.8f, 1.0f, 0.0f, 0.0f, 5, {{3, 1.5f}}, 2};
        r.stop.min_tokens = 3;
        r.n = 2;
        return r;
      }(),
      5, *TinyVocabulary::tokenizer(), 256, Clock::now());
  request.banned_below_min = {1, 2};
  BlockManager blocks(8, 16);
  Scheduler scheduler({4, 64, 8}, blocks);
  StepBatch batch(16, {TinyVocabulary::kUnused});
  scheduler.add(request.sequences[1]);
  Schedule schedule = scheduler.schedule();
  batch.build(schedule);
  REQUIRE(batch.rows().size() == 1);
  SamplingRow row = batch.rows()[0];
  CHECK(row.temperature == 0.5f);
  CHECK(row.top_k == 40);
  CHECK(row.top_p == 0.9f);
  CHECK(row.min_p == 0.1f);
  CHECK(row.typical_p == 0.8f);
  CHECK(row.seed == 6);
  CHECK(row.position == 20);
  CHECK(row.num_logprobs == 2);
  CHECK(row.logit_bias.size() == 1);
  CHECK(row.prompt_tokens.empty());  // no penalty wants them
  CHECK(row.output_tokens.empty());
  CHECK(row.banned_tokens.size() == 2);
  CHECK(batch.input().logit_rows[0] == 19);

  for (const ScheduledChunk& chunk : schedule.chunks) scheduler.commit(chunk);
  request.sequences[1].output = {5, 6, 7};
  schedule = scheduler.schedule();
  CHECK(schedule.num_tokens == 3);
  batch.build(schedule);
  row = batch.rows()[0];
  CHECK(row.position == 23);
  CHECK(row.banned_tokens.size() == 1);
  CHECK(row.banned_tokens[0] == TinyVocabulary::kUnused);
  scheduler.remove(request.sequences[1]);
}

}  // namespace
}  // namespace qwend::testing
