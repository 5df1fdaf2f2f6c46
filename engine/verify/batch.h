// Steps for the self-check: which tokens of which sequences, in blocks scattered over the cache.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace qwend::verify {

inline constexpr int32_t kBlockSize = 16;

struct TestSequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> blocks;  // at least enough for all tokens
  int32_t slot(int32_t position) const {
    return blocks[static_cast<size_t>(position / kBlockSize)] * kBlockSize + position % kBlockSize;
  }
  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
};

// Hands out the blocks of a pool in a scattered order, as a cache in use would. All come back with reset().
class ScatteredBlocks {
 public:
  explicit ScatteredBlocks(int32_t num_blocks);
  std::vector<int32_t> take(int32_t num_tokens);  // blocks for so many tokens; CHECKs that there are enough
  void reset() { taken_ = 0; }

 private:
  const int32_t num_blocks_;
  int32_t stride_ = 1;
  int32_t taken_ = 0;
};

// The arrays of a StepInput.
class Batch {
 public:
  // Tokens begin .. begin + count of a sequence. index: which sequence it is, for reports.
  void add(const TestSequence& sequence, int32_t index, int32_t begin, int32_t count);
  // Views into the batch: valid until the next add(). logit_rows must outlive the step.
  StepInput input(std::span<const int32_t> logit_rows = {});

  int32_t num_tokens() const { return static_cast<int32_t>(tokens_.size()); }
  int32_t token(int64_t t) const { return tokens_[static_cast<size_t>(t)]; }
  int32_t position(int64_t t) const { return positions_[static_cast<size_t>(t)]; }
  int32_t sequence(int64_t t) const { return sequences_[static_cast<size_t>(t)]; }  // its index
  std::span<const int32_t> slots() const { return slots_; }
  std::span<const int32_t> all_rows();  // 0, 1, ... T - 1: logits of every token

 private:
  std::vector<int32_t> tokens_, positions_, slots_, sequences_, cu_seqlens_{0}, context_lens_, tables_, rows_;
  std::vector<std::vector<int32_t>> blocks_;
};

}  // namespace qwend::verify
