// Log-probabilities of prompts that were computed before, beside the KV cache's blocks.
#pragma once
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/types.h"

namespace qwend {

// A token's log-probability hangs on the tokens before it alone, so it belongs to the content of its block
// (BlockManager: content numbers stand for whole prefixes and are never used twice). Entries of contents that
// are gone are never asked for; the oldest make room. Engine thread only.
class PromptLogprobCache {
 public:
  // 16 tokens with 5 alternatives each take about 1.5 KB.
  static constexpr size_t kMaxBlocks = 16384;

  // Of the block's tokens, with at least num_top alternatives each; nullptr: not known.
  const std::vector<TokenOutput>* find(uint64_t content, int32_t num_top) const {
    const auto found = entries_.find(content);
    return found == entries_.end() || found->second.num_top < num_top ? nullptr : &found->second.tokens;
  }
  void store(uint64_t content, int32_t num_top, std::span<const TokenOutput> tokens) {
    const auto [entry, is_new] = entries_.try_emplace(content);
    if (!is_new && entry->second.num_top >= num_top) return;
    entry->second = {num_top, {tokens.begin(), tokens.end()}};
    if (!is_new) return;
    order_.push_back(content);
    if (order_.size() <= kMaxBlocks) return;
    entries_.erase(order_.front());
    order_.pop_front();
  }

 private:
  struct Entry {
    int32_t num_top = 0;
    std::vector<TokenOutput> tokens;  // [block_size]
  };
  std::unordered_map<uint64_t, Entry> entries_;
  std::deque<uint64_t> order_;  // as they came
};

}  // namespace qwend
