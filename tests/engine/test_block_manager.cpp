#include <algorithm>
#include <list>
#include <numeric>
#include <random>

#include "engine/schedule/block_manager.h"
#include "tests/support/catch2.h"

namespace qwend {
namespace {

constexpr int32_t kBlock = 4;

// A sequence with its own prompt, as a request would own it.
struct Owned {
  explicit Owned(std::vector<int32_t> tokens_, CacheDomain domain = {}) : tokens(std::move(tokens_)) {
    sequence.prompt = tokens;
    sequence.domain = domain;
  }
  Owned(const Owned&) = delete;
  std::vector<int32_t> tokens;
  Sequence sequence;
};

std::vector<int32_t> range(int32_t n, int32_t first = 0) {
  std::vector<int32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

bool admit(BlockManager& blocks, Sequence& s) { return blocks.admit(s, s.num_tokens() - 1, 0); }

void compute_all(BlockManager& blocks, Sequence& s) {
  s.num_computed_tokens = s.num_tokens();
  blocks.seal(s);
}

std::string check(const BlockManager& blocks, std::vector<const Sequence*> sequences) {
  return blocks.check(sequences);
}

TEST_CASE("A finished sequence's full blocks are found again", "[engine]") {
  BlockManager blocks(8, kBlock);
  Owned a(range(10)), b(range(10)), c(range(12));
  REQUIRE(admit(blocks, a.sequence));
  CHECK(a.sequence.num_computed_tokens == 0);
  CHECK(blocks.num_used() == 3);
  compute_all(blocks, a.sequence);
  const std::vector<int32_t> table = a.sequence.block_table;
  blocks.release(a.sequence);
  CHECK(blocks.num_cached() == 2);  // the third block is not full
  CHECK(blocks.num_free() == 6);

  REQUIRE(admit(blocks, b.sequence));
  CHECK(b.sequence.num_computed_tokens == 8);
  CHECK(b.sequence.block_table[0] == table[0]);
  CHECK(b.sequence.block_table[1] == table[1]);

  REQUIRE(admit(blocks, c.sequence));  // shares with b, which is still there
  CHECK(c.sequence.num_computed_tokens == 8);
  CHECK(blocks.num_used() == 4);
  CHECK(check(blocks, {&b.sequence, &c.sequence}) == "");
}

TEST_CASE("A prompt that is cached completely still computes its last token", "[engine]") {
  BlockManager blocks(8, kBlock);
  Owned a(range(8)), b(range(8));
  REQUIRE(admit(blocks, a.sequence));
  compute_all(blocks, a.sequence);
  REQUIRE(admit(blocks, b.sequence));
  CHECK(b.sequence.num_computed_tokens == 4);
  compute_all(blocks, b.sequence);  // its second block is a copy of a's and is swapped for it
  CHECK(b.sequence.block_table == a.sequence.block_table);
  CHECK(blocks.num_used() == 2);
  CHECK(check(blocks, {&a.sequence, &b.sequence}) == "");
}

TEST_CASE("The same tokens after another prefix are other content", "[engine]") {
  BlockManager blocks(16, kBlock, false, GENERATE(~uint64_t{0}, uint64_t{0}));  // 0: all hashes collide
  Owned a({1, 2, 3, 4, 9, 9, 9, 9, 0}), b({5, 6, 7, 8, 9, 9, 9, 9, 0});
  REQUIRE(admit(blocks, a.sequence));
  compute_all(blocks, a.sequence);
  REQUIRE(admit(blocks, b.sequence));
  CHECK(b.sequence.num_computed_tokens == 0);
  compute_all(blocks, b.sequence);
  CHECK(a.sequence.block_table[1] != b.sequence.block_table[1]);
}

TEST_CASE("Domains do not share; private content is forgotten", "[engine]") {
  BlockManager blocks(16, kBlock, false, GENERATE(~uint64_t{0}, uint64_t{0}));  // 0: all hashes collide
  Owned a(range(9), {1, 0}), other_salt(range(9), {2, 0}), same_salt(range(9), {1, 0}),
      only_mine(range(9), {1, 7});
  REQUIRE(admit(blocks, a.sequence));
  compute_all(blocks, a.sequence);
  REQUIRE(admit(blocks, other_salt.sequence));
  CHECK(other_salt.sequence.num_computed_tokens == 0);
  REQUIRE(admit(blocks, same_salt.sequence));
  CHECK(same_salt.sequence.num_computed_tokens == 8);
  REQUIRE(admit(blocks, only_mine.sequence));
  CHECK(only_mine.sequence.num_computed_tokens == 0);
  compute_all(blocks, only_mine.sequence);
  Owned sibling(range(9), {1, 7});
  REQUIRE(admit(blocks, sibling.sequence));
  CHECK(sibling.sequence.num_computed_tokens == 8);
  const int32_t cached = blocks.num_cached();
  blocks.release(only_mine.sequence);
  blocks.release(sibling.sequence);
  CHECK(blocks.num_cached() == cached);
  Owned late(range(9), {1, 7});
  REQUIRE(admit(blocks, late.sequence));
  CHECK(late.sequence.num_computed_tokens == 0);
}

TEST_CASE("Cached blocks are evicted least recently used first, ends before beginnings", "[engine]") {
  BlockManager blocks(6, kBlock);
  Owned a(range(12)), b(range(12, 100));
  for (Owned* o : {&a, &b}) {
    REQUIRE(admit(blocks, o->sequence));
    compute_all(blocks, o->sequence);
    blocks.release(o->sequence);
  }
  CHECK(blocks.num_cached() == 6);
  Owned fresh(range(8, 500));  // takes two blocks: the end of a
  REQUIRE(admit(blocks, fresh.sequence));
  Owned a_again(range(13)), b_again(range(13, 100));
  REQUIRE(blocks.admit(a_again.sequence, 12, 0));
  CHECK(a_again.sequence.num_computed_tokens == 4);
  blocks.release(a_again.sequence);
  CHECK(check(blocks, {&fresh.sequence}) == "");
}

TEST_CASE("Admission changes nothing when there is no room", "[engine]") {
  BlockManager blocks(4, kBlock);
  Owned a(range(8)), b(range(12)), c(range(12));
  REQUIRE(admit(blocks, a.sequence));
  compute_all(blocks, a.sequence);
  CHECK_FALSE(blocks.admit(c.sequence, 11, 2));  // one fresh block needed, two must stay
  CHECK(c.sequence.block_table.empty());
  REQUIRE(blocks.admit(b.sequence, 11, 1));
  CHECK(blocks.num_free() == 1);
  CHECK(blocks.grow(b.sequence, 16));
  CHECK_FALSE(blocks.grow(b.sequence, 17));
  CHECK(b.sequence.block_table.size() == 4);
  CHECK(check(blocks, {&a.sequence, &b.sequence}) == "");
  blocks.release(a.sequence);
  Owned needs_cached(range(12));  // the prefix is b's; cached blocks count once
  CHECK_FALSE(admit(blocks, needs_cached.sequence));
}

TEST_CASE("The beginning of a block is copied where it is known, and only there", "[engine]") {
  BlockManager blocks(16, kBlock, /*copies_blocks=*/true);
  Owned a({0, 1, 2, 3, 4, 5, 6, 7, 8}), longer({0, 1, 2, 3, 4, 5, 9, 9, 9, 9}), none({0, 1, 2, 3, 8, 8, 8}),
      first_block({0, 1, 7, 7, 7}), whole({0, 1, 2, 3, 4, 5, 6, 7}), salted({0, 1, 2, 3, 4}, {5, 0});
  REQUIRE(admit(blocks, a.sequence));
  compute_all(blocks, a.sequence);
  CHECK(blocks.take_copies().empty());
  const std::vector<int32_t> known = a.sequence.block_table;

  const auto copied = [&](Owned& o, int32_t computed, int32_t sealed) {
    REQUIRE(admit(blocks, o.sequence));
    CHECK(o.sequence.num_computed_tokens == computed);
    CHECK(o.sequence.num_sealed_blocks == sealed);
    const std::vector<BlockCopy> copies = blocks.take_copies();
    REQUIRE(copies.size() == (computed > sealed * kBlock ? 1 : 0));
    if (copies.empty()) return;
    CHECK(copies[0].from == known[sealed]);
    CHECK(copies[0].to == o.sequence.block_table[sealed]);
    CHECK(copies[0].to != copies[0].from);
  };
  copied(longer, 6, 1);
  copied(none, 4, 1);
  copied(first_block, 2, 0);
  copied(whole, 7, 1);  // the last token is computed for its logits
  copied(salted, 0, 0);
  std::vector<const Sequence*> held;
  for (const Owned* o : {&a, &longer, &none, &first_block, &whole, &salted}) held.push_back(&o->sequence);
  CHECK(check(blocks, held) == "");
}

TEST_CASE("A source that is given away before the copy is made still has its content", "[engine]") {
  BlockManager blocks(3, kBlock, /*copies_blocks=*/true);
  Owned a(range(8)), b({0, 1, 2, 3, 4, 5, 9, 9, 9, 9});
  REQUIRE(admit(blocks, a.sequence));
  compute_all(blocks, a.sequence);
  const int32_t source = a.sequence.block_table[1];
  blocks.release(a.sequence);
  REQUIRE(admit(blocks, b.sequence));  // takes the free block, then the source itself
  CHECK(b.sequence.num_computed_tokens == 6);
  const std::vector<BlockCopy> copies = blocks.take_copies();
  REQUIRE(copies.size() == 1);
  CHECK(copies[0].from == source);
  CHECK(copies[0].to == b.sequence.block_table[1]);
  CHECK(b.sequence.block_table[2] == source);
  CHECK(check(blocks, {&b.sequence}) == "");
}

// Random growth over a tree of prefixes. `hash_mask` 0 makes all hashes collide.
void random_walk(uint64_t hash_mask, bool copies_blocks, int32_t steps) {
  constexpr int32_t num_blocks = 24;
  BlockManager blocks(num_blocks, kBlock, copies_blocks, hash_mask);
  std::mt19937 rng(7);
  int32_t num_copies = 0;
  std::list<Owned> all;
  std::vector<std::vector<int32_t>> content(
      num_blocks);  // the whole prefix up to the block's end, as computed
  for (int32_t step = 0; step < steps; ++step) {
    const auto random = [&](size_t n) { return static_cast<int32_t>(rng() % n); };
    const auto any = [&] { return std::next(all.begin(), random(all.size())); };
    if (random(3) == 0 && all.size() < 8) {
      std::vector<int32_t> tokens(1 + random(24));
      for (int32_t& t : tokens) t = random(10) == 0 ? 1 : 0;  // few distinct tokens: long shared prefixes
      Owned& o = all.emplace_back(std::move(tokens), CacheDomain{0, random(5) == 0 ? uint64_t(step + 1) : 0});
      if (!admit(blocks, o.sequence)) {
        all.pop_back();
      } else {
        for (int32_t b = 0; b < o.sequence.num_sealed_blocks; ++b) {
          const auto end = o.tokens.begin() + (b + 1) * kBlock;
          REQUIRE(content[o.sequence.block_table[b]] == std::vector<int32_t>(o.tokens.begin(), end));
        }
        for (const BlockCopy& copy : blocks.take_copies()) {
          REQUIRE(copies_blocks);
          REQUIRE(copy.to == o.sequence.block_table[o.sequence.num_sealed_blocks]);
          const std::vector<int32_t> found = content[copy.from];
          const size_t num_tokens = static_cast<size_t>(o.sequence.num_computed_tokens);
          REQUIRE(found.size() >= num_tokens);
          REQUIRE(std::equal(o.tokens.begin(), o.tokens.begin() + num_tokens, found.begin()));
          content[copy.to].assign(found.begin(), found.begin() + num_tokens);
          ++num_copies;
        }
      }
    } else if (!all.empty() && random(12) == 0) {
      const auto ended = any();
      blocks.release(ended->sequence);
      all.erase(ended);
    } else if (!all.empty()) {
      Sequence& s = any()->sequence;
      if (s.num_remaining() == 0) {
        s.output.push_back(random(4) == 0);
        if (!blocks.grow(s, s.num_tokens())) s.output.pop_back();
      } else {
        const int32_t computed = s.num_computed_tokens + 1 + random(s.num_remaining());
        for (int32_t p = s.num_computed_tokens; p < computed; ++p) {  // writes into its own, unsealed block
          std::vector<int32_t>& cell = content[s.block_table[p / kBlock]];
          cell.clear();
          for (int32_t i = 0; i <= p; ++i) cell.push_back(s.token(i));
        }
        s.num_computed_tokens = computed;
        blocks.seal(s);
      }
    }
    std::vector<const Sequence*> held;
    for (const Owned& o : all) held.push_back(&o.sequence);
    REQUIRE(blocks.check(held) == "");
  }
  CHECK((num_copies > 500) == copies_blocks);
}

TEST_CASE("Random use keeps the pool sound and prefixes true", "[engine]") {
  random_walk(~uint64_t{0}, GENERATE(false, true), 20'000);
}
TEST_CASE("Colliding hashes are harmless", "[engine]") { random_walk(0, GENERATE(false, true), 20'000); }

}  // namespace
}  // namespace qwend
