#include "engine/schedule/block_manager.h"

#include <algorithm>
#include <random>

#include "kernels/check.h"

namespace qwend {
namespace {

uint64_t random_word() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// Folded 64 x 64 -> 128 bit multiplication: every output bit depends on all bits of both factors.
__extension__ using Wide = unsigned __int128;
uint64_t mix(uint64_t a, uint64_t b) {
  const Wide product = Wide{a} * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

BlockManager::BlockManager(int32_t num_blocks, int32_t block_size, bool copies_blocks, uint64_t hash_mask)
    : num_blocks_(num_blocks),
      block_size_(block_size),
      hash_mask_(hash_mask),
      hash_key_{random_word(), random_word()},
      blocks_(num_blocks + 1),
      tokens_(static_cast<size_t>(num_blocks + 1) * block_size),
      free_(num_blocks),
      cached_(num_blocks),
      known_(num_blocks, Hash{this}, Equal{this}),
      copies_blocks_(copies_blocks) {
  CHECK(num_blocks > 0 && block_size > 0);
  for (int32_t block = 0; block < num_blocks; ++block) free_.push_back(block);
}

std::span<int32_t> BlockManager::tokens_of(int32_t block) {
  return {tokens_.data() + static_cast<size_t>(block) * block_size_, static_cast<size_t>(block_size_)};
}

std::span<const int32_t> BlockManager::tokens_of(int32_t block) const {
  return {tokens_.data() + static_cast<size_t>(block) * block_size_, static_cast<size_t>(block_size_)};
}

size_t BlockManager::hash(int32_t block) const {
  const Block& b = blocks_[block];
  uint64_t h = mix(b.domain.salt ^ hash_key_[0], b.domain.private_to ^ hash_key_[1]);
  h = mix(h ^ b.parent, hash_key_[0]);
  for (const int32_t token : tokens_of(block)) {
    h = mix(h ^ static_cast<uint32_t>(token) ^ hash_key_[1], hash_key_[0] | 1);
  }
  return h & hash_mask_;
}

bool BlockManager::same_content(int32_t a, int32_t b) const {
  return blocks_[a].parent == blocks_[b].parent && blocks_[a].domain == blocks_[b].domain &&
         std::ranges::equal(tokens_of(a), tokens_of(b));
}

// Writes the key of the sequence's logical block, which must be full, into the record of `block`.
void BlockManager::describe(int32_t block, const Sequence& sequence, int32_t logical, uint64_t parent) {
  blocks_[block].parent = parent;
  blocks_[block].domain = sequence.domain;
  const std::span<int32_t> tokens = tokens_of(block);
  for (int32_t i = 0; i < block_size_; ++i) tokens[i] = sequence.token(logical * block_size_ + i);
}

std::vector<int32_t> BlockManager::find_prefix(const Sequence& sequence, int32_t max_cached_tokens) {
  std::vector<int32_t> prefix;
  const int32_t key = num_blocks_;
  uint64_t parent = 0;
  const int32_t max_blocks = max_cached_tokens / block_size_;
  while (static_cast<int32_t>(prefix.size()) < max_blocks) {
    describe(key, sequence, static_cast<int32_t>(prefix.size()), parent);
    const auto found = known_.find(key);
    if (found == known_.end()) break;
    prefix.push_back(*found);
    parent = blocks_[*found].content;
  }
  return prefix;
}

// The longest beginning of tokens begin .. end (less than a block's) among the children of `parent`. The
// latest children are looked at; a few hundred comparisons are cheap beside a token.
BlockManager::Match BlockManager::find_tail(const Sequence& sequence, int32_t begin, int32_t end,
                                            uint64_t parent) const {
  constexpr size_t kMostChildren = 256;
  Match best;
  const auto children = children_.find(parent);
  if (children == children_.end()) return best;
  const std::vector<int32_t>& all = children->second;
  const size_t looked_at = std::min(all.size(), kMostChildren);
  for (auto child = all.rbegin(); child != all.rbegin() + static_cast<std::ptrdiff_t>(looked_at); ++child) {
    if (blocks_[*child].domain != sequence.domain) continue;
    const std::span<const int32_t> tokens = tokens_of(*child);
    int32_t same = 0;
    while (begin + same < end && tokens[same] == sequence.token(begin + same)) ++same;
    if (same > best.num_tokens) best = {*child, same};
    if (begin + same == end) break;
  }
  return best;
}

void BlockManager::link(int32_t block) {
  if (!copies_blocks_) return;
  std::vector<int32_t>& siblings = children_[blocks_[block].parent];
  blocks_[block].child_index = static_cast<int32_t>(siblings.size());
  siblings.push_back(block);
}

void BlockManager::forget(int32_t block) {
  known_.erase(block);
  blocks_[block].content = 0;
  if (!copies_blocks_) return;
  const auto children = children_.find(blocks_[block].parent);
  std::vector<int32_t>& siblings = children->second;
  const int32_t index = blocks_[block].child_index;
  siblings[index] = siblings.back();
  blocks_[siblings[index]].child_index = index;
  siblings.pop_back();
  if (siblings.empty()) children_.erase(children);
}

std::vector<uint64_t> BlockManager::known_contents(const Sequence& sequence) {
  std::vector<uint64_t> contents;
  for (const int32_t block : find_prefix(sequence, sequence.num_prompt_tokens()))
    contents.push_back(blocks_[block].content);
  return contents;
}

bool BlockManager::admit(Sequence& sequence, int32_t max_cached_tokens, int32_t reserve) {
  CHECK(sequence.block_table.empty() && max_cached_tokens <= sequence.num_tokens());
  std::vector<int32_t> table = find_prefix(sequence, max_cached_tokens);
  const int32_t num_prefix = static_cast<int32_t>(table.size());
  const auto idle = std::ranges::count_if(table, [&](int32_t block) { return cached_.contains(block); });
  const int32_t available = num_free() + num_cached() - static_cast<int32_t>(idle);
  const int32_t needed = blocks_for(sequence.num_tokens()) - num_prefix;
  if (needed + reserve > available) return false;

  const int32_t shared_tokens = num_prefix * block_size_;
  Match tail;
  if (copies_blocks_ && shared_tokens < max_cached_tokens) {
    const int32_t end = std::min(max_cached_tokens, shared_tokens + block_size_);
    tail = find_tail(sequence, shared_tokens, end, table.empty() ? 0 : blocks_[table.back()].content);
  }
  for (const int32_t block : table) acquire(block);
  if (tail.num_tokens > 0 && cached_.contains(tail.block)) {  // used just now
    cached_.erase(tail.block);
    cached_.push_back(tail.block);
  }
  for (int32_t i = 0; i < needed; ++i) table.push_back(take());
  if (tail.num_tokens > 0) copies_.push_back({tail.block, table[num_prefix]});
  sequence.block_table = std::move(table);
  sequence.num_sealed_blocks = num_prefix;
  sequence.num_computed_tokens = shared_tokens + tail.num_tokens;
  return true;
}

bool BlockManager::grow(Sequence& sequence, int32_t num_tokens) {
  const int32_t missing = blocks_for(num_tokens) - static_cast<int32_t>(sequence.block_table.size());
  if (missing > num_free() + num_cached()) return false;
  for (int32_t i = 0; i < missing; ++i) sequence.block_table.push_back(take());
  return true;
}

void BlockManager::seal(Sequence& sequence) {
  const int32_t num_final = std::min(sequence.num_computed_tokens, sequence.num_tokens());
  for (int32_t& logical = sequence.num_sealed_blocks; (logical + 1) * block_size_ <= num_final; ++logical) {
    int32_t& block = sequence.block_table[logical];
    CHECK(blocks_[block].ref_count == 1 && blocks_[block].content == 0);
    const uint64_t parent = logical == 0 ? 0 : blocks_[sequence.block_table[logical - 1]].content;
    describe(block, sequence, logical, parent);
    const auto [known, is_new] = known_.insert(block);
    if (is_new) {
      blocks_[block].content = ++last_content_;
      link(block);
    } else {  // the same prefix was computed by somebody else meanwhile: share theirs
      acquire(*known);
      drop(block);
      block = *known;
    }
  }
}

void BlockManager::release(Sequence& sequence) {
  // Backwards, so that the end of a prefix is evicted before its beginning, without which it could not be
  // found.
  for (auto block = sequence.block_table.rbegin(); block != sequence.block_table.rend(); ++block)
    drop(*block);
  sequence.block_table.clear();
  sequence.num_sealed_blocks = 0;
  sequence.num_computed_tokens = 0;
}

int32_t BlockManager::take() {
  int32_t block;
  if (free_.size() > 0) {
    block = free_.pop_front();
  } else {
    block = cached_.pop_front();
    forget(block);
  }
  CHECK(blocks_[block].ref_count == 0 && blocks_[block].content == 0);
  blocks_[block].ref_count = 1;
  return block;
}

void BlockManager::acquire(int32_t block) {
  if (blocks_[block].ref_count++ == 0) cached_.erase(block);
}

void BlockManager::drop(int32_t block) {
  Block& b = blocks_[block];
  CHECK(b.ref_count > 0);
  if (--b.ref_count > 0) return;
  ++num_releases_;
  if (b.content != 0 && b.domain.private_to != 0) forget(block);  // nobody will ever ask for it
  if (b.content != 0)
    cached_.push_back(block);
  else
    free_.push_front(block);  // used last: likely still in the processor's cache
}

std::string BlockManager::check(std::span<const Sequence* const> sequences) const {
  std::vector<int32_t> references(num_blocks_, 0);
  for (const Sequence* sequence : sequences) {
    for (size_t i = 0; i < sequence->block_table.size(); ++i) {
      const int32_t block = sequence->block_table[i];
      if (block < 0 || block >= num_blocks_) return "block table names block " + std::to_string(block);
      ++references[block];
      const bool sealed = static_cast<int32_t>(i) < sequence->num_sealed_blocks;
      if (sealed != (blocks_[block].content != 0)) {
        return "block " + std::to_string(block) + (sealed ? " should be sealed" : " should not be sealed");
      }
    }
  }
  int32_t used = 0;
  size_t sealed = 0;
  for (int32_t block = 0; block < num_blocks_; ++block) {
    const Block& b = blocks_[block];
    const std::string name = "block " + std::to_string(block);
    if (b.ref_count != references[block]) {
      return name + " has reference count " + std::to_string(b.ref_count) + " but is in " +
             std::to_string(references[block]) + " block tables";
    }
    used += b.ref_count > 0;
    sealed += b.content != 0;
    if ((b.ref_count > 0) + free_.contains(block) + cached_.contains(block) != 1) {
      return name + " is not in exactly one of used, free, cached";
    }
    if (cached_.contains(block) != (b.ref_count == 0 && b.content != 0))
      return name + " is cached without content";
    if (b.content != 0 && (!known_.contains(block) || *known_.find(block) != block))
      return name + " cannot be found";
  }
  size_t linked = 0;
  for (const auto& [parent, children] : children_) {
    linked += children.size();
    for (size_t i = 0; i < children.size(); ++i) {
      const Block& b = blocks_[children[i]];
      const bool sound = b.content != 0 && b.parent == parent && b.child_index == static_cast<int32_t>(i);
      if (!sound) return "block " + std::to_string(children[i]) + " is not its parent's child";
    }
  }
  if (copies_blocks_ && linked != sealed) return "a sealed block has no parent";
  if (sealed != known_.size()) return "the prefix index holds blocks that are not sealed";
  if (used + num_free() + num_cached() != num_blocks_) return "used + free + cached is not the pool";
  return {};
}

}  // namespace qwend
