#include <algorithm>
#include <deque>
#include <map>
#include <numeric>

#include "engine/schedule/scheduler.h"
#include "tests/support/catch2.h"

namespace qwend {
namespace {

// Sequences that want a number of output tokens each, driven without a model.
struct Fixture {
  Fixture(int32_t num_blocks, SchedulerConfig config) : blocks(num_blocks, 16), scheduler(config, blocks) {}

  Sequence& add(int32_t prompt_tokens, int32_t output_tokens, int64_t arrival_us = 0) {
    prompts.emplace_back(prompt_tokens, static_cast<int32_t>(prompts.size()));  // no shared prefixes
    Sequence& s = sequences.emplace_back();
    s.request_id = sequences.size();
    s.arrival_us = arrival_us;
    s.prompt = prompts.back();
    s.output.reserve(output_tokens);
    wanted[&s] = output_tokens;
    scheduler.add(s);
    return s;
  }

  Schedule step() {
    const Schedule schedule = scheduler.schedule();
    for (const ScheduledChunk& chunk : schedule.chunks) {
      Sequence& s = *chunk.sequence;
      scheduler.launched(chunk);
      s.num_prompt_logits = std::min(s.num_computed_tokens, s.num_prompt_tokens() - 1);
      if (chunk.end() == s.num_tokens()) ++s.num_pending_tokens;
    }
    for (const ScheduledChunk& chunk : schedule.chunks) {
      Sequence& s = *chunk.sequence;
      if (s.num_pending_tokens == 0) continue;
      scheduler.append(s, 0);
      if (s.num_output_tokens() == wanted[&s]) scheduler.remove(s);
    }
    std::vector<const Sequence*> all;
    for (const Sequence& s : sequences) all.push_back(&s);
    REQUIRE(scheduler.check() == "");
    REQUIRE(blocks.check(all) == "");
    return schedule;
  }

  bool done() const { return scheduler.num_running() + scheduler.num_waiting() == 0; }

  BlockManager blocks;
  Scheduler scheduler;
  std::deque<std::vector<int32_t>> prompts;
  std::deque<Sequence> sequences;
  std::map<Sequence*, int32_t> wanted;
};

int32_t tokens_of(const Schedule& schedule, const Sequence& sequence) {
  for (const ScheduledChunk& chunk : schedule.chunks) {
    if (chunk.sequence == &sequence) return chunk.num_tokens;
  }
  return 0;
}

TEST_CASE("Decodes come first and a long prompt fills the rest of the budget", "[engine]") {
  Fixture f(256, {.max_seqs = 4, .max_batch_tokens = 32, .prompt_logit_rows = 4});
  Sequence& a = f.add(5, 100);
  Sequence& b = f.add(6, 100);
  f.step();
  Sequence& longer = f.add(100, 4);
  for (const int32_t chunk : {30, 30, 30, 10}) {
    const Schedule step = f.step();
    CHECK(tokens_of(step, a) == 1);
    CHECK(tokens_of(step, b) == 1);
    CHECK(tokens_of(step, longer) == chunk);
    CHECK(step.num_tokens <= 32);
  }
  CHECK(longer.num_output_tokens() == 1);
}

TEST_CASE("First come, first served, and nobody overtakes a request that needs much", "[engine]") {
  Fixture f(8, {.max_seqs = 4, .max_batch_tokens = 64, .prompt_logit_rows = 4});
  Sequence& small = f.add(64, 8, 1);
  Sequence& large = f.add(100, 4, 2);  // does not fit beside `small`
  Sequence& tiny = f.add(4, 4, 3);     // would
  f.step();
  CHECK(small.state == Sequence::State::Running);
  CHECK(large.state == Sequence::State::Waiting);
  CHECK(tiny.state == Sequence::State::Waiting);
  while (small.state != Sequence::State::Finished) f.step();
  f.step();
  CHECK(large.state == Sequence::State::Running);
  while (!f.done()) f.step();
}

TEST_CASE("Priority goes first, but only ten seconds a level", "[engine]") {
  Fixture f(64, {.max_seqs = 1, .max_batch_tokens = 64, .prompt_logit_rows = 4});
  const auto at = [](int64_t second, int64_t priority) {
    return second * 1'000'000 + priority * Scheduler::kPriorityHandicapUs;
  };
  Sequence& low_old = f.add(4, 2, at(0, 1));
  Sequence& high_soon = f.add(4, 2, at(5, 0));
  Sequence& high_late = f.add(4, 2, at(11, 0));
  std::vector<Sequence*> order;
  while (!f.done()) {
    for (const ScheduledChunk& chunk : f.step().chunks) {
      if (order.empty() || order.back() != chunk.sequence) order.push_back(chunk.sequence);
    }
  }
  CHECK(order == std::vector<Sequence*>{&high_soon, &low_old, &high_late});
}

TEST_CASE("The youngest is preempted, and its past comes back from the prefix cache", "[engine]") {
  Fixture f(6, {.max_seqs = 4, .max_batch_tokens = 64, .prompt_logit_rows = 4});
  Sequence& old = f.add(30, 60, 1);
  Sequence& young = f.add(30, 30, 2);
  int32_t preempted = 0;
  while (young.state != Sequence::State::Waiting || preempted == 0) {
    preempted += f.step().num_preempted;
    REQUIRE(old.state == Sequence::State::Running);
  }
  CHECK(young.num_output_tokens() > 0);
  CHECK(young.block_table.empty());
  while (!f.done()) f.step();
  CHECK(young.num_output_tokens() == 30);
  CHECK(f.blocks.num_used() == 0);
}

TEST_CASE("A pool of 1.2 sequences serves 64", "[engine]") {
  // A sequence needs 10 blocks at its end; the pool has 12.
  Fixture f(12, {.max_seqs = 64, .max_batch_tokens = 64, .prompt_logit_rows = 4});
  for (int32_t i = 0; i < 64; ++i) f.add(100, 60, i);
  int64_t steps = 0, computed = 0;
  while (!f.done()) {
    computed += f.step().num_tokens;
    REQUIRE(++steps < 64 * 200);
  }
  for (const Sequence& s : f.sequences) CHECK(s.num_output_tokens() == 60);
  CHECK(computed < 3 * 64 * 159);  // preemption must not waste most of the work
}

TEST_CASE("Removal works in every state", "[engine]") {
  Fixture f(16, {.max_seqs = 2, .max_batch_tokens = 16, .prompt_logit_rows = 4});
  Sequence held;
  f.scheduler.remove(held);
  Sequence& decoding = f.add(4, 100);
  f.step();
  Sequence& prompt = f.add(100, 10);
  Sequence& waiting = f.add(4, 10);
  f.step();
  REQUIRE(prompt.num_computed_tokens > 0);
  REQUIRE(prompt.num_remaining() > 1);
  f.scheduler.remove(waiting);
  f.scheduler.remove(prompt);
  f.scheduler.remove(decoding);
  CHECK(f.done());
  CHECK(f.blocks.num_used() == 0);
}

TEST_CASE("Prompt log-probabilities get a few rows a step and every position once", "[engine]") {
  Fixture f(64, {.max_seqs = 4, .max_batch_tokens = 64, .prompt_logit_rows = 8});
  Sequence& decoding = f.add(4, 100);
  f.step();
  Sequence& scored = f.add(20, 2);
  scored.wants_prompt_logits = true;
  Sequence& plain = f.add(40, 2);
  for (const int32_t chunk : {8, 8, 4}) {  // 19 rows; the last position needs none
    const Schedule step = f.step();
    CHECK(tokens_of(step, decoding) == 1);
    CHECK(tokens_of(step, scored) == chunk);
  }
  CHECK(plain.state == Sequence::State::Finished);  // not held up by the rows that `scored` waits for
}

}  // namespace
}  // namespace qwend
