// Who holds which block of the paged KV cache, and which finished blocks can be used again.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/schedule/block_list.h"
#include "engine/schedule/sequence.h"
#include "kernels/backend.h"

namespace qwend {

// A fixed pool of blocks of block_size tokens. Each block is in one of three states:
//   free    its content is worth nothing
//   used    in the block tables of ref_count sequences
//   cached  in no table, but its content can still be found; taken for new content when no block is free,
//   least
//           recently used first
//
// Prefix sharing. A block is sealed once all its tokens are known and computed, where a launched step counts
// as computed: steps run in the order of their launch, so whoever finds the block reads it after it was
// written, and whoever is given a block back by others writes to it after their last use. A sealed block gets
// a content number, never used again, and can be found by (domain, content number of the block before it, its
// own tokens). Equal keys therefore mean equal token prefixes by induction; the hash, keyed with a random
// number of the process against crafted collisions, only chooses the bucket. Sealing content that is already
// known swaps the sequence's copy for the known block, so a content exists at most once, and whoever holds a
// block also holds all blocks before it.
//
// A sequence shares full blocks. Where the executor can copy blocks, what follows them is looked for at the
// beginning of the sealed blocks that follow them elsewhere (children): the longest match is copied to a
// block of the sequence's own, which computes only the rest of its prompt itself. Copies are made before the
// next step writes anything and in the order of admission, so a source that is given away meanwhile still
// holds what was found there.
//
// Not thread-safe: engine thread only. Pure host logic.
class BlockManager {
 public:
  // hash_mask: bits of the hash that are used; tests pass 0 so that all keys collide.
  BlockManager(int32_t num_blocks, int32_t block_size, bool copies_blocks = false,
               uint64_t hash_mask = ~uint64_t{0});
  BlockManager(const BlockManager&) = delete;  // the index of known blocks points back here
  BlockManager& operator=(const BlockManager&) = delete;

  int32_t block_size() const { return block_size_; }
  int32_t num_blocks() const { return num_blocks_; }
  int32_t num_free() const { return free_.size(); }
  int32_t num_cached() const { return cached_.size(); }
  int32_t num_used() const { return num_blocks_ - num_free() - num_cached(); }
  int32_t blocks_for(int32_t num_tokens) const { return (num_tokens + block_size_ - 1) / block_size_; }
  uint64_t num_releases() const {
    return num_releases_;
  }  // changes whenever blocks may have become available

  // Gives a sequence without blocks its longest known prefix of at most max_cached_tokens, shared or to be
  // copied, and fresh blocks for the rest of its tokens; sets num_computed_tokens to the prefix. False, and
  // nothing changed, when fewer than `reserve` blocks would be left for others.
  bool admit(Sequence& sequence, int32_t max_cached_tokens, int32_t reserve);
  // Content numbers of the longest known prefix of a sequence's prompt, a full block each.
  std::vector<uint64_t> known_contents(const Sequence& sequence);
  uint64_t content_of(int32_t block) const { return blocks_[block].content; }  // 0: not sealed
  // Makes room for num_tokens tokens. False, and nothing changed, when the pool is used up.
  bool grow(Sequence& sequence, int32_t num_tokens);
  // The copies that admissions since the last call rely on: to be made before the next step.
  std::vector<BlockCopy> take_copies() { return std::exchange(copies_, {}); }
  // Makes the full blocks of all tokens that are known and computed known to others.
  void seal(Sequence& sequence);
  // Takes all blocks from the sequence; nothing of it counts as computed afterwards.
  void release(Sequence& sequence);

  // Counts all references again from the block tables of all sequences. Empty when sound, else what is wrong.
  std::string check(std::span<const Sequence* const> sequences) const;

 private:
  struct Block {
    int32_t ref_count = 0;
    uint64_t content = 0;  // 0: not sealed
    uint64_t parent = 0;   // content of the block before it; 0: first block
    CacheDomain domain;
    int32_t child_index = 0;  // in its parent's list of children
  };
  // The first tokens of a sealed block, wanted in another one.
  struct Match {
    int32_t block = -1;
    int32_t num_tokens = 0;
  };
  struct Hash {
    const BlockManager* manager;
    size_t operator()(int32_t block) const { return manager->hash(block); }
  };
  struct Equal {
    const BlockManager* manager;
    bool operator()(int32_t a, int32_t b) const { return manager->same_content(a, b); }
  };

  size_t hash(int32_t block) const;
  bool same_content(int32_t a, int32_t b) const;
  std::span<int32_t> tokens_of(int32_t block);
  std::span<const int32_t> tokens_of(int32_t block) const;
  void describe(int32_t block, const Sequence& sequence, int32_t logical, uint64_t parent);
  std::vector<int32_t> find_prefix(const Sequence& sequence, int32_t max_cached_tokens);
  Match find_tail(const Sequence& sequence, int32_t begin, int32_t end, uint64_t parent) const;
  void link(int32_t block);     // to its parent's children
  void forget(int32_t block);   // its content can't be found any more
  int32_t take();               // a block with new content: free, else the least recently used cached one
  void acquire(int32_t block);  // one more reference to known content
  void drop(int32_t block);     // one reference less

  const int32_t num_blocks_, block_size_;
  const uint64_t hash_mask_;
  uint64_t hash_key_[2];
  std::vector<Block> blocks_;    // [num_blocks + 1]; the last one is the key of a search
  std::vector<int32_t> tokens_;  // [num_blocks + 1, block_size] tokens of sealed blocks
  BlockList free_, cached_;
  std::unordered_set<int32_t, Hash, Equal> known_;  // sealed blocks by content
  const bool copies_blocks_;
  std::unordered_map<uint64_t, std::vector<int32_t>> children_;  // sealed blocks by parent, if copies_blocks_
  std::vector<BlockCopy> copies_;
  uint64_t last_content_ = 0;
  uint64_t num_releases_ = 0;
};

}  // namespace qwend
