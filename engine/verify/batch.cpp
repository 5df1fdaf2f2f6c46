#include "engine/verify/batch.h"

#include <algorithm>
#include <numeric>

#include "kernels/check.h"

namespace qwend::verify {

ScatteredBlocks::ScatteredBlocks(int32_t num_blocks) : num_blocks_(num_blocks) {
  // The first stride that is prime to the pool's size visits every block once.
  for (stride_ = 37; std::gcd(stride_, num_blocks) != 1;) ++stride_;
}

std::vector<int32_t> ScatteredBlocks::take(int32_t num_tokens) {
  std::vector<int32_t> blocks(static_cast<size_t>((num_tokens + kBlockSize - 1) / kBlockSize));
  for (int32_t& block : blocks) {
    CHECK(taken_ < num_blocks_);
    block = static_cast<int32_t>(int64_t{++taken_} * stride_ % num_blocks_);
  }
  return blocks;
}

void Batch::add(const TestSequence& sequence, int32_t index, int32_t begin, int32_t count) {
  CHECK(count > 0 && begin + count <= sequence.size());
  for (int32_t position = begin; position < begin + count; ++position) {
    tokens_.push_back(sequence.tokens[static_cast<size_t>(position)]);
    positions_.push_back(position);
    slots_.push_back(sequence.slot(position));
    sequences_.push_back(index);
  }
  cu_seqlens_.push_back(num_tokens());
  context_lens_.push_back(begin + count);
  const auto used = static_cast<std::ptrdiff_t>((begin + count + kBlockSize - 1) / kBlockSize);
  blocks_.emplace_back(sequence.blocks.begin(), sequence.blocks.begin() + used);
}

StepInput Batch::input(std::span<const int32_t> logit_rows) {
  size_t stride = 1;
  for (const auto& blocks : blocks_) stride = std::max(stride, blocks.size());
  tables_.assign(stride * blocks_.size(), -1);  // what no sequence owns must not be read
  for (size_t s = 0; s < blocks_.size(); ++s) {
    std::ranges::copy(blocks_[s], tables_.begin() + static_cast<std::ptrdiff_t>(s * stride));
  }
  return {tokens_,   positions_, slots_, cu_seqlens_, context_lens_, tables_, static_cast<int32_t>(stride),
          logit_rows};
}

std::span<const int32_t> Batch::all_rows() {
  rows_.resize(tokens_.size());
  std::iota(rows_.begin(), rows_.end(), 0);
  return rows_;
}

}  // namespace qwend::verify
