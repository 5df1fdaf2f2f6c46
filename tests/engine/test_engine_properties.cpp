// Random use of the whole engine, step by step, against the definition of what each request must produce.
#include <list>
#include <random>

#include "tests/support/engine_harness.h"
#include "tests/support/reference_output.h"
// Catch2 last: its CHECK replaces ours.
#include "tests/support/catch2.h"

namespace qwend::test {
namespace {

struct Expectation {
  GenerationRequest request;
  Received received;
  RequestId id = 0;
  bool cancelled = false;
};

class RandomUse {
 public:
  // depth: steps in flight.
  RandomUse(EngineConfig config, uint32_t seed, int32_t depth, bool copies_blocks)
      : h_(config, depth, copies_blocks), rng_(seed) {
    for (int i = 0; i < 3; ++i) {
      std::vector<int32_t>& prefix = prefixes_.emplace_back();
      for (int k = 0; k < 60; ++k) prefix.push_back('a' + random(26));
    }
  }

  void run(int32_t steps) {
    for (int32_t i = 0; i < steps; ++i) {
      if (random(5) == 0 && active_.size() < 24) submit();
      if (random(25) == 0 && !active_.empty()) cancel();
      if (!h_.core.idle()) h_.step();
      h_.core.publish();
      INFO("step " << i);
      REQUIRE(h_.core.check() == "");
      read();
    }
    while (!h_.core.idle()) {
      h_.step();
      REQUIRE(h_.core.check() == "");
      read();
    }
    REQUIRE(active_.empty());
    REQUIRE(h_.core.stats().blocks_used == 0);
    REQUIRE((h_.executor.num_overlapped > h_.executor.num_steps / 4) == (h_.depth > 1));
  }

  const EngineHarness& harness() const { return h_; }
  int32_t num_completed = 0, num_cancelled = 0, num_shared = 0;

 private:
  int32_t random(size_t n) { return static_cast<int32_t>(rng_() % n); }

  GenerationRequest make_request() {
    GenerationRequest r;
    const std::vector<int32_t>& prefix = prefixes_[random(prefixes_.size())];
    r.prompt.assign(prefix.begin(), prefix.begin() + random(prefix.size()));
    for (int32_t k = 1 + random(20); k > 0; --k) r.prompt.push_back(random(kSmallVocabularySize));
    r.sampling.temperature = random(2) == 0 ? 0.0f : 0.9f;
    r.sampling.seed = rng_();
    if (random(4) == 0) r.sampling.repetition_penalty = 1.3f;
    if (random(4) == 0) r.sampling.presence_penalty = 0.7f;
    if (random(4) == 0) r.sampling.frequency_penalty = 0.4f;
    if (random(4) == 0) r.sampling.logit_bias = {{'q', 4.0f}, {kUnused, 100.0f}};
    if (random(3) == 0) add_limits(r);
    r.stop.max_tokens = 1 + random(40);
    if (random(3) == 0) {
      r.stop.stop = {std::string(1, static_cast<char>('a' + random(26))), "<think>", "the"};
      r.stop.stop[0] += static_cast<char>('a' + random(26));
    } else if (random(3) == 0) {
      r.stop.min_tokens = random(10);
    }
    if (random(4) == 0) r.stop.stop_token_ids = {'e', 'f'};
    r.stop.ignore_eos = random(4) == 0;
    r.stop.include_stop_in_output = random(4) == 0;
    r.keep_control_tokens = random(4) == 0;
    r.n = random(4) == 0 ? 2 + random(4) : 1;
    r.use_prefix_cache = random(5) != 0;
    r.cache_salt = random(2);
    r.priority = random(3);
    if (random(5) == 0) r.prompt_logprobs = random(3);
    if (random(6) == 0) r.openings = {"the cat", "then,", "=\n"};
    return r;
  }

  void add_limits(GenerationRequest& r) {
    SamplingParams& p = r.sampling;
    if (random(2) == 0) {
      // Few tokens to choose from, so that texts repeat.
      p.allowed_tokens = {'a', 'b', 'c', '\n', kEndOfText, kImEnd};
      p.dry = {.multiplier = random(3) == 0 ? 0.0f : 3.0f,
               .base = 1.5f,
               .allowed_length = 1 + random(3),
               .last_n = random(3) == 0 ? random(20) : -1,
               .breakers = {"\n", "bc"}};
      if (random(2) == 0) p.bad_words = {{'a', 'b'}, {'b'}, {'c', 'c', 'a'}};
      if (random(2) == 0)
        r.stop.repetition = {.max_pattern = 1 + random(4), .min_pattern = 1, .min_count = 3};
    }
    if (random(2) == 0) {
      r.thinking = ThinkingLimit{.max_tokens = random(8),
                                 .open = random(2) == 0 ? 'a' : -1,
                                 .close = 'c',
                                 .inside = random(2) == 0,
                                 .ending = {'!', kTh, '\n'}};
    }
  }

  void submit() {
    GenerationRequest request = make_request();
    const bool needs_sync = random(20) == 0;
    Received received = h_.submit(request, Clock::now(), needs_sync);
    active_.push_back({std::move(request), std::move(received), h_.last_id});
  }

  void cancel() {
    Expectation& e = *std::next(active_.begin(), random(active_.size()));
    e.cancelled = true;
    h_.core.cancel(e.id);
  }

  void read() {
    for (auto e = active_.begin(); e != active_.end();) {
      REQUIRE(e->received.take());
      if (e->received.done) {
        compare(*e);
        e = active_.erase(e);
      } else {
        ++e;
      }
    }
  }

  void compare(const Expectation& e) {
    int32_t generated = 0;
    for (int32_t i = 0; i < e.request.n; ++i) {
      const ReferenceOutput expected =
          reference_output(e.request, i, *small_tokenizer(), EngineHarness::kVocab, h_.config.max_model_len);
      const Received::One& got = e.received.sequences[i];
      generated += expected.num_generated;
      INFO("request " << e.id << " sequence " << i);
      if (e.cancelled && got.finish == FinishReason::Cancelled) {
        REQUIRE(got.tokens.size() <= expected.tokens.size());
        REQUIRE(std::equal(got.tokens.begin(), got.tokens.end(), expected.tokens.begin()));
        continue;
      }
      REQUIRE(got.tokens == expected.tokens);
      REQUIRE(got.text == expected.text);
      REQUIRE(got.finish == expected.finish);
    }
    if (e.cancelled) {
      ++num_cancelled;
      return;
    }
    ++num_completed;
    num_shared += e.received.usage.cached_tokens > 0;
    REQUIRE(e.received.usage.completion_tokens == generated);
    REQUIRE(e.received.usage.prompt_tokens == static_cast<int32_t>(e.request.prompt.size()));
    if (e.request.prompt_logprobs >= 0) compare_prompt_logprobs(e);
  }

  void compare_prompt_logprobs(const Expectation& e) {
    REQUIRE(e.received.prompt_logprobs.size() == e.request.prompt.size());
    for (size_t i = 1; i < e.request.prompt.size(); ++i) {
      SamplingRow row;
      row.temperature = 0.0f;
      row.num_logprobs = e.request.prompt_logprobs;
      const std::pair<int32_t, float> forced{e.request.prompt[i], 1e30f};
      row.logit_bias = {&forced, 1};
      const SampledToken expected =
          fake_sample(fake_logits(std::span(e.request.prompt).first(i), EngineHarness::kVocab), row);
      REQUIRE(e.received.prompt_logprobs[i].token == e.request.prompt[i]);
      REQUIRE(e.received.prompt_logprobs[i].logprob == expected.logprob);
      REQUIRE(static_cast<int32_t>(e.received.prompt_logprobs[i].top.size()) == e.request.prompt_logprobs);
    }
  }

  EngineHarness h_;
  std::mt19937 rng_;
  std::vector<std::vector<int32_t>> prefixes_;
  std::list<Expectation> active_;
};

EngineConfig config(int32_t num_blocks, int32_t block_size, int32_t max_seqs, int32_t max_batch_tokens) {
  EngineConfig c;
  c.max_model_len = 110;
  c.num_kv_blocks = num_blocks;
  c.block_size = block_size;
  c.max_seqs = max_seqs;
  c.max_batch_tokens = max_batch_tokens;
  c.prompt_logit_rows = 5;
  return c;
}

TEST_CASE("Every request produces what it would alone, in a roomy pool", "[engine]") {
  const bool copies_blocks = GENERATE(false, true);
  RandomUse use(config(512, 16, 16, 64), 1, GENERATE(1, 2), copies_blocks);
  use.run(3000);
  CHECK(use.num_completed > 200);
  CHECK(use.num_cancelled > 20);
  CHECK(use.num_shared > 50);
  CHECK(use.harness().core.stats().preemptions == 0);
  CHECK((use.harness().executor.num_copies > 50) == copies_blocks);
}

TEST_CASE("Every request produces what it would alone, under constant preemption", "[engine]") {
  const bool copies_blocks = GENERATE(false, true);
  const int32_t block_size = GENERATE(16, 4);
  RandomUse use(config(160 / block_size, block_size, 16, 32), 2, GENERATE(1, 2), copies_blocks);
  use.run(6000);
  CHECK(use.num_completed > 100);
  CHECK(use.num_shared > 20);
  CHECK(use.harness().core.stats().preemptions > 10);
  CHECK((use.harness().executor.num_copies > 20) == copies_blocks);
}

TEST_CASE("Every request produces what it would alone, in tiny chunks", "[engine]") {
  const bool copies_blocks = GENERATE(false, true);
  RandomUse use(config(96, 8, 3, 3), 3, GENERATE(1, 2), copies_blocks);
  use.run(6000);
  CHECK(use.num_completed > 50);
}

TEST_CASE("Every request produces what it would alone, without a prefix cache", "[engine]") {
  const bool copies_blocks = GENERATE(false, true);
  EngineConfig c = config(40, 8, 8, 48);
  c.prefix_cache = false;
  RandomUse use(c, 4, GENERATE(1, 2), copies_blocks);
  use.run(3000);
  CHECK(use.num_completed > 50);
  CHECK(use.num_shared == 0);
  CHECK(use.harness().core.stats().blocks_cached == 0);
}

}  // namespace
}  // namespace qwend::test
