// The engine step by step: what one request sees in each situation it can meet.
#include <algorithm>
#include <numeric>
#include <set>
#include <thread>

#include "tests/support/engine_harness.h"
#include "tests/support/reference_output.h"
// Catch2 last: its CHECK replaces ours.
#include "tests/support/catch2.h"

namespace qwend::test {
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
  return reference_output(request, index, *small_tokenizer(), EngineHarness::kVocab, 256);
}

TEST_CASE("A pooled request answers with its last token's hidden state, in any company",
          "[engine][pooling]") {
  const int32_t depth = GENERATE(1, 2);
  GenerationRequest pooled;
  pooled.prompt = prompt_of(70);
  pooled.pooled = true;
  const std::vector<float> expected = FakeExecutor::hidden_of(pooled.prompt);
  const auto hidden_of = [](Received& received) {
    const std::vector<OutputDelta> deltas = received.stream->take_all(std::chrono::milliseconds(0));
    REQUIRE(deltas.size() == 1);
    CHECK(deltas[0].last);
    CHECK(deltas[0].finish == FinishReason::Length);
    CHECK(deltas[0].usage.completion_tokens == 0);
    return deltas[0].hidden;
  };

  EngineHarness engine(config(), depth);
  Received cold = engine.submit(pooled);
  engine.run();
  CHECK(hidden_of(cold) == expected);
  Received cached = engine.submit(pooled);  // the last token is computed again
  engine.run();
  CHECK(hidden_of(cached) == expected);

  EngineHarness busy(config(10, 8, 20), depth);  // chunks, beside sequences that preempt
  Received talker = busy.submit(endless(prompt_of(30, 5), 60));
  Received other = busy.submit(endless(prompt_of(30, 9), 60));
  Received among = busy.submit(pooled);
  busy.run();
  CHECK(hidden_of(among) == expected);
  REQUIRE(talker.take());
  CHECK(talker.sequences[0].tokens == reference(endless(prompt_of(30, 5), 60)).tokens);
  CHECK(busy.core.check() == "");
}

TEST_CASE("Greedy output is the same alone, chunked, cached, batched, preempted and n > 1", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  const GenerationRequest request = endless(prompt_of(70), 50);
  const std::vector<int32_t> expected = reference(request).tokens;

  EngineHarness alone(config(), depth);
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

  EngineHarness chunked(config(64, 1, 3), depth);
  Received in_chunks = chunked.submit(request);
  chunked.run();
  REQUIRE(in_chunks.take());
  CHECK(in_chunks.sequences[0].tokens == expected);
  CHECK(chunked.executor.max_tokens == 3);

  for (const int32_t num_blocks : {64, 10}) {  // roomy, and so small that two sequences preempt each other
    EngineHarness batched(config(num_blocks), depth);
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
  EngineHarness h(config(), GENERATE(1, 2));
  GenerationRequest request = endless(prompt_of(64), 40);
  request.sampling.temperature = 1.0f;
  request.sampling.seed = 11;
  request.n = 4;
  request.use_prefix_cache = GENERATE(true, false);
  Received received = h.submit(request);
  h.steps(2);  // the first is the prompt
  CHECK(h.core.stats().running == 4);
  // Three full blocks shared (the fourth's last token each computes itself), and one or two each.
  CHECK(h.core.stats().blocks_used <= 3 + 4 * 2);
  const int64_t prompt_work = h.executor.num_tokens;
  CHECK(prompt_work <= 64 + 3 * 16 + h.depth);
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
  EngineHarness h(config(), GENERATE(1, 2));
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
  EngineHarness h(config(64, 3), GENERATE(1, 2));
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

TEST_CASE("Prompt log-probabilities come once, compute what has none yet, and fill the cache", "[engine]") {
  EngineHarness h(config(), GENERATE(1, 2));
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

TEST_CASE("Prompt log-probabilities that are known are not computed again", "[engine]") {
  EngineHarness h(config(), GENERATE(1, 2));
  const auto echo = [&](const std::vector<int32_t>& prompt, int32_t num_top, uint64_t salt = 0) {
    GenerationRequest request = endless(prompt, 0);
    request.prompt_logprobs = num_top;
    request.cache_salt = salt;
    Received received = h.submit(request);
    h.run();
    REQUIRE(received.take());
    REQUIRE(received.prompt_logprobs.size() == prompt.size());
    for (size_t i = 1; i < prompt.size(); ++i)
      REQUIRE(received.prompt_logprobs[i].top.size() == static_cast<size_t>(num_top));
    return received;
  };
  const auto same = [](const Received& a, const Received& b, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      REQUIRE(a.prompt_logprobs[i].token == b.prompt_logprobs[i].token);
      REQUIRE(a.prompt_logprobs[i].logprob == b.prompt_logprobs[i].logprob);
    }
  };
  const Received cold = echo(prompt_of(50), 2);
  CHECK(cold.usage.cached_tokens == 0);
  const Received again = echo(prompt_of(50), 2);
  CHECK(again.usage.cached_tokens >= 32);  // the row before the first unknown one is computed
  same(cold, again, 50);
  const Received fewer = echo(prompt_of(50), 1);
  CHECK(fewer.usage.cached_tokens >= 32);
  same(cold, fewer, 50);
  CHECK(echo(prompt_of(50), 3).usage.cached_tokens == 0);  // more than is known
  CHECK(echo(prompt_of(50), 3).usage.cached_tokens >= 32);

  std::vector<int32_t> other = prompt_of(40);  // the same context, another continuation
  for (int32_t i = 0; i < 20; ++i) other.push_back('?');
  const Received continued = echo(other, 1);
  CHECK(continued.usage.cached_tokens >= 16);
  same(cold, continued, 40);
  CHECK(echo(prompt_of(50), 2, 7).usage.cached_tokens == 0);  // nobody else's
  const Received whole = echo(prompt_of(48), 2);              // nothing is missing
  CHECK(whole.usage.cached_tokens >= 32);
  same(cold, whole, 48);
}

TEST_CASE("A prompt of one token has no log-probability to tell", "[engine]") {
  EngineHarness h(config(), GENERATE(1, 2));
  GenerationRequest request = endless({'x'}, 0);
  request.prompt_logprobs = 5;
  Received received = h.submit(request);
  h.run();
  REQUIRE(received.take());
  CHECK(received.prompt_logprobs.size() == 1);
  CHECK(received.done);
}

TEST_CASE("Log-probabilities travel with their tokens", "[engine]") {
  EngineHarness h(config(), GENERATE(1, 2));
  GenerationRequest request = endless(prompt_of(6), 4);
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
  EngineHarness h(config(40, 4, 16), GENERATE(1, 2));
  enum Phase { Queued, Prefill, Decode, Siblings, WaitingSiblings };
  Received neighbour = h.submit(endless(prompt_of(9), 200));  // runs all the time
  h.steps(1);
  for (int32_t round = 0; round < 1000; ++round) {
    const Phase phase = static_cast<Phase>(round % 5);
    GenerationRequest request = endless(prompt_of(40, round), 100);
    if (phase == Siblings) request.n = 3;
    if (phase == WaitingSiblings) request.n = 20;
    Received received = h.submit(request);
    const RequestId id = h.last_id;
    const int32_t num_steps = phase == Queued ? 0 : phase == Prefill ? 1 : 9;
    h.steps(num_steps);
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
    const int32_t in_flight = h.depth - 1;
    const int32_t computed = 9 + static_cast<int32_t>(neighbour.sequences[0].tokens.size()) - 1 + in_flight;
    REQUIRE(before.running >= neighbours + (phase == Siblings ? 3 : phase == Queued ? 0 : 1));
    REQUIRE((before.waiting > 0) == (phase == Queued || phase == WaitingSiblings));
    REQUIRE(h.core.stats().running == neighbours);
    REQUIRE(h.core.stats().waiting == 0);
    REQUIRE(h.core.stats().blocks_used == neighbours * (computed + 15) / 16);
    if (neighbour.done) {
      neighbour = h.submit(endless(prompt_of(9), 200));
      h.steps(1);
    }
  }
  h.run();
  const EngineStats stats = h.core.stats();
  CHECK(stats.blocks_used == 0);
  CHECK(stats.cancelled_queued == 200);
  CHECK(stats.cancelled_prefill == 200);
  CHECK(stats.cancelled_decode == 600);
}

TEST_CASE("Deadlines: in the queue, and while running with what there is", "[engine]") {
  EngineHarness h(config(64, 1), GENERATE(1, 2));
  const Clock::time_point start = Clock::now();
  GenerationRequest slow = endless(prompt_of(10), 100);
  slow.deadline = start + std::chrono::seconds(100);
  Received running = h.submit(slow, start);
  h.steps(1);
  GenerationRequest waits = endless(prompt_of(10), 100);
  waits.queue_deadline = start + std::chrono::seconds(50);
  waits.n = 3;
  Received queued = h.submit(waits, start);
  h.steps(1);

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
  h.run();
  CHECK_FALSE(running.stream->take_all(std::chrono::milliseconds(0)).size());  // nothing after the end
  CHECK(h.core.stats().finished_deadline == 4);                                // sequences
  CHECK(h.core.stats().blocks_used == 0);
}

TEST_CASE("A request that ran keeps its place when its queue deadline passes", "[engine]") {
  EngineHarness h(config(), GENERATE(1, 2));
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
        r.sampling.temperature = 0.5f, r.sampling.top_k = 40, r.sampling.top_p = 0.9f;
        r.sampling.min_p = 0.1f, r.sampling.typical_p = 0.8f, r.sampling.seed = 5;
        r.sampling.xtc_probability = 0.25f, r.sampling.xtc_threshold = 0.2f;
        r.sampling.logit_bias = {{3, 1.5f}};
        r.sampling.allowed_tokens = {3, 70};
        r.sampling.logprob_tokens = {8};
        r.sampling.num_logprobs = 2;
        r.stop.min_tokens = 3;
        r.n = 2;
        return r;
      }(),
      5, *small_tokenizer(), 256, Clock::now());
  request.banned_below_min = {1, 2};
  BlockManager blocks(8, 16);
  Scheduler scheduler({4, 64, 8}, blocks);
  StepBatch batch(16, {kUnused});
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
  CHECK(row.xtc_probability == 0.25f);
  CHECK(row.xtc_threshold == 0.2f);
  REQUIRE(row.allowed_mask.size() == 2);
  CHECK(row.allowed_mask[0] == uint64_t{1} << 3);
  CHECK(row.allowed_mask[1] == uint64_t{1} << 6);
  CHECK(row.logprob_tokens[0] == 8);
  CHECK(row.seed == 6);
  CHECK(row.position == 20);
  CHECK(row.num_logprobs == 2);
  CHECK(row.logit_bias.size() == 1);
  CHECK(row.prompt_tokens.empty());  // no penalty wants them
  CHECK(row.output_tokens.empty());
  CHECK(row.banned_tokens.size() == 2);
  CHECK(batch.input().logit_rows[0] == 19);

  for (const ScheduledChunk& chunk : schedule.chunks) scheduler.launched(chunk);
  request.sequences[1].output = {5, 6, 7};
  schedule = scheduler.schedule();
  CHECK(schedule.num_tokens == 3);
  batch.build(schedule);
  row = batch.rows()[0];
  CHECK(row.position == 23);
  CHECK(row.banned_tokens.size() == 1);
  CHECK(row.banned_tokens[0] == kUnused);
  scheduler.remove(request.sequences[1]);
}

TEST_CASE("A row whose last token is pending refers to the row that draws it", "[engine]") {
  GenerationRequest params = greedy(prompt_of(20), 3);
  params.sampling.presence_penalty = GENERATE(0.0f, 0.5f);
  params.stop.min_tokens = 2;
  ActiveRequest request(7, params, 5, *small_tokenizer(), 256, Clock::now());
  request.banned_below_min = {1, 2};
  Sequence& sequence = request.sequences[0];
  BlockManager blocks(8, 16);
  Scheduler scheduler({4, 64, 8}, blocks);
  StepBatch batch(16, {});
  scheduler.add(sequence);
  for (const int32_t row_before : {-1, 0, 3}) {
    const Schedule schedule = scheduler.schedule();
    REQUIRE(schedule.chunks.size() == 1);
    batch.build(schedule);
    const StepInput input = batch.input();
    const SamplingRow row = batch.rows()[0];
    const bool pending = row_before >= 0;
    CHECK(row.position == 20 + sequence.num_output_tokens() + pending);
    CHECK(row.previous_row == (params.sampling.presence_penalty > 0 ? row_before : -1));
    CHECK(row.banned_tokens.size() == (row.position < 22 ? 2u : 0u));
    CHECK(input.token_rows.size() == (pending ? 1u : 0u));
    if (pending) CHECK(input.token_rows[0] == row_before);
    CHECK(input.context_lens[0] == static_cast<int32_t>(row.position));
    scheduler.launched(schedule.chunks[0]);
    ++sequence.num_pending_tokens;
    sequence.pending_row = row_before == -1 ? 0 : 3;
    if (pending) scheduler.append(sequence, 'x');  // the result of the step before
    REQUIRE(scheduler.check() == "");
  }
  CHECK(scheduler.schedule().chunks.empty());  // the third token, the last one, is on its way
  scheduler.remove(sequence);
}

TEST_CASE("Steps overlap, and an end known in advance costs no step", "[engine]") {
  EngineHarness h(config(), 2);
  std::vector<Received> streams;
  for (int32_t i = 0; i < 3; ++i) streams.push_back(h.submit(endless(prompt_of(10, i), 40)));
  h.run();
  CHECK(h.executor.num_steps == 40);
  CHECK(h.executor.num_overlapped == 39);
  CHECK(h.core.stats().steps == 40);
  CHECK(h.executor.num_tokens == 3 * (10 + 39));

  GenerationRequest full = endless(prompt_of(250), 40);  // the context ends it after 6 tokens
  h.submit(full);
  h.run();
  CHECK(h.core.stats().steps == 40 + 4 + 5);  // 64 tokens of the prompt a step
}

TEST_CASE("An end found late costs one step, of which nothing is seen", "[engine]") {
  GenerationRequest request = greedy(prompt_of(20), 100);
  request.stop.ignore_eos = true;
  const std::vector<int32_t> tokens = reference(request).tokens;
  const auto stops_at = std::ranges::find_if(tokens.begin() + 27, tokens.end(), [&](int32_t token) {
    return std::ranges::count(tokens, token) == 1;
  });
  REQUIRE(stops_at != tokens.end());
  request.stop.stop_token_ids = {*stops_at};
  const int32_t generated = static_cast<int32_t>(stops_at - tokens.begin()) + 1;

  std::vector<int32_t> next = request.prompt;  // goes on where the first request ended
  next.insert(next.end(), tokens.begin(), tokens.begin() + generated + 40);
  std::vector<int32_t> cached;
  for (const int32_t depth : {1, 2}) {
    EngineHarness h(config(), depth);
    Received received = h.submit(request);
    h.run();
    REQUIRE(received.take());
    CHECK(received.sequences[0].finish == FinishReason::Stop);
    CHECK(received.sequences[0].tokens == std::vector<int32_t>(tokens.begin(), stops_at));
    CHECK(received.usage.completion_tokens == generated);
    CHECK(h.core.stats().generation_tokens == static_cast<uint64_t>(generated));
    CHECK(h.executor.num_steps == generated + depth - 1);
    CHECK(h.core.stats().blocks_used == 0);
    Received second = h.submit(endless(next, 5));
    h.run();
    REQUIRE(second.take());
    cached.push_back(second.usage.cached_tokens);
  }
  CHECK(cached[0] == cached[1]);
  CHECK(cached[0] == (20 + generated - 1) / 16 * 16);
}

TEST_CASE("Whatever ends a request while it is in flight drops what its step still draws", "[engine]") {
  EngineHarness h(config(20), 2);
  const Clock::time_point start = Clock::now();
  for (int32_t round = 0; round < 50; ++round) {
    GenerationRequest request = endless(prompt_of(60, round), 60);
    request.deadline = start + std::chrono::seconds(1);
    Received gone = h.submit(request, start);
    h.steps(1 + round % 7);
    REQUIRE(h.executor.num_in_flight() == 1);
    if (round % 2 == 0) {
      h.core.cancel(h.last_id);
    } else {
      h.core.expire(start + std::chrono::seconds(2));
    }
    h.core.publish();
    REQUIRE(gone.take());
    REQUIRE(gone.done);
    REQUIRE(h.core.check() == "");
    // The next one takes the same blocks while the step is in flight.
    const GenerationRequest other = endless(prompt_of(60, round + 13), 30);
    Received next = h.submit(other);
    h.run();
    REQUIRE(gone.take());  // nothing more came
    REQUIRE(next.take());
    REQUIRE(next.sequences[0].tokens == reference(other).tokens);
  }
}

TEST_CASE("A step that the next one needs to have seen is collected first", "[engine]") {
  EngineHarness h(config(), 2);
  const GenerationRequest request = endless(prompt_of(10), 20);
  Received before = h.submit(request);
  h.steps(5);
  Received masked = h.submit(request, Clock::now(), /*needs_sync=*/true);
  h.step();  // launches the step with its first row
  const int64_t overlapped = h.executor.num_overlapped;
  while (!masked.done) {
    REQUIRE(h.executor.num_in_flight() == 0);
    h.step();
    REQUIRE(masked.take());
  }
  CHECK(h.executor.num_overlapped == overlapped);
  CHECK(masked.sequences[0].tokens == reference(request).tokens);
  h.run();
  REQUIRE(before.take());
  CHECK(before.sequences[0].tokens == reference(request).tokens);
}

TEST_CASE("An output begins with one of its openings, whatever else is asked for", "[engine]") {
  const std::vector<std::string> openings = {"get_weather\", \"arguments\": {",
                                             "get_time\", \"arguments\": {", "the end"};
  const auto begun = [&](const std::string& text) {
    return std::ranges::count_if(openings,
                                 [&](const std::string& opening) { return text.starts_with(opening); });
  };
  EngineHarness h(config(), GENERATE(1, 2));
  GenerationRequest request = endless(prompt_of(20), 60);
  request.openings = openings;
  request.sampling.temperature = 8.0f;
  request.n = 8;
  SECTION("nothing else") {}
  SECTION("tokens that may not be drawn") {
    for (const char c : std::string("gte \"")) request.sampling.bad_words.push_back({c});
    request.sampling.allowed_tokens = {'x', kEndOfText};
    request.sampling.logit_bias = {{'<', 100.0f}, {'!', 100.0f}};
  }
  SECTION("stop tokens that would have to wait") {
    request.stop.min_tokens = 3;
    request.stop.ignore_eos = false;
    request.stop.max_tokens = 60;
  }
  std::set<char> first;
  for (int round = 0; round < 5; ++round) {
    request.sampling.seed = 100 * round;
    Received received = h.submit(request);
    h.run();
    REQUIRE(received.take());
    for (int32_t i = 0; i < request.n; ++i) {
      INFO(received.sequences[i].text);
      CHECK(begun(received.sequences[i].text) == 1);
      CHECK(received.sequences[i].tokens == reference(request, i).tokens);
      first.insert(received.sequences[i].text[4]);
    }
  }
  CHECK(first.size() == 3);  // each of them was drawn
}

TEST_CASE("Only an output's opening keeps steps from overlapping", "[engine]") {
  EngineHarness h(config(), 2);
  GenerationRequest request = endless(prompt_of(10), 40);
  request.openings = {"abcdefgh"};
  Received received = h.submit(request);
  h.run();
  REQUIRE(received.take());
  CHECK(received.sequences[0].text.starts_with("abcdefgh"));
  CHECK(h.executor.num_overlapped >= 40 - 8 - 2);
}

TEST_CASE("Time is accounted for each step", "[engine]") {
  EngineHarness h(config(), GENERATE(1, 2));
  h.executor.on_step = [](const StepInput&) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  const Clock::time_point begin = Clock::now();
  h.submit(endless(prompt_of(10), 20));
  h.run();
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  const EngineStats stats = h.core.stats();
  uint64_t count = 0;
  for (const uint64_t bucket : stats.step_seconds.counts) count += bucket;
  CHECK(count == 20);
  // The fake executor computes when it is launched, so a last step, launched ahead, takes no time of its own.
  const auto& counts = stats.step_seconds.counts;
  CHECK(counts[0] + counts[1] + counts[2] == static_cast<uint64_t>(h.depth - 1));
  CHECK(stats.step_seconds.sum >= 20 * 0.002);
  CHECK(stats.step_seconds.sum <= elapsed);
  CHECK(stats.schedule_seconds > 0);
  CHECK(stats.commit_seconds > 0);
  CHECK(stats.schedule_seconds + stats.commit_seconds < elapsed - 20 * 0.002);
}

TEST_CASE("The fake executor refuses steps that refer to what is not there", "[engine]") {
  const int32_t depth = GENERATE(1, 2);
  FakeExecutor executor(EngineHarness::kVocab, 4, 16, depth);
  const auto launch = [&](int32_t position, std::vector<int32_t> token_rows, int32_t previous_row) {
    const std::vector<int32_t> tokens = {5}, positions = {position}, cu_seqlens = {0, 1},
                               context_lens = {position + 1}, table = {0}, logit_rows = {0};
    StepInput input{tokens, positions, positions, cu_seqlens, context_lens, table, 1, logit_rows, token_rows};
    SamplingRow row;
    row.previous_row = previous_row;
    executor.launch(input, {&row, 1});
  };
  CHECK_THROWS_AS(executor.collect(), std::logic_error);
  CHECK_THROWS_AS(launch(0, {0}, -1), std::logic_error);  // no step before
  launch(0, {}, -1);
  CHECK_THROWS_AS(launch(1, {1}, -1), std::logic_error);  // which had one row
  CHECK_THROWS_AS(launch(1, {}, 1), std::logic_error);
  if (depth == 1) {
    CHECK_THROWS_AS(launch(1, {}, -1), std::logic_error);
  } else {
    launch(1, {0}, 0);
    CHECK_THROWS_AS(launch(2, {0}, -1), std::logic_error);  // a third step
  }
  for (int32_t i = 0; i < depth; ++i) CHECK(executor.collect().size() == 1);
  CHECK_THROWS_AS(launch(2, {0}, -1), std::logic_error);  // the host has seen it: it is no longer pending
}

}  // namespace
}  // namespace qwend::test
