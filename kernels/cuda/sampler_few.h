// Rows that are drawn from few candidates, as most are: greedy, or with a small top_k. What needs no list
// longer than kListed and no histogram, so that the block that finishes a row's first look can draw at once.
// Written against Block (sampler_block.cuh).
#pragma once
#include "kernels/cuda/sampler_list.h"

namespace qwend::cuda {

inline constexpr int32_t kMostFew = 64;   // the largest top_k
inline constexpr int32_t kFewSets = 128;  // sets of groups; at 64 of 128 some 90 scores reach the bound

struct FewScratch {
  CandidateList list;
  alignas(16) uint32_t sets[2 * kFewSets];  // the largest key of each set of groups
};

// What RowSampler (sampler_draw.h) would draw, from the same exact sums. keys: [groups] the largest score_key
// of each. -1 where it takes more than a list: no score is left, or too many tie.
template <class Block>
QWEND_ROW_FN int32_t draw_from_few(Block& block, FewScratch& scratch, const ScoreView& view,
                                   const uint32_t* keys, const DeviceRow& row) {
  uint32_t* sets = scratch.sets;
  block.each(2 * kFewSets, [&](int32_t s) {
    uint32_t best = 0;
    for (int32_t g = s; g < view.groups(); g += 2 * kFewSets) best = keys[g] > best ? keys[g] : best;
    sets[s] = best;
  });
  const uint32_t top_key = block.largest(kFewSets, [&](int32_t s) {
    const uint32_t other = sets[s + kFewSets];
    if (other > sets[s]) sets[s] = other;
    return sets[s];
  });
  if (top_key == kNeverKey) return -1;
  const Weighing weighing{key_score(top_key), row.scale};
  uint32_t bound = top_key;
  if (!row.greedy) {
    // As many sets as are wanted reach it, so as many scores do.
    bound = block.largest(kFewSets, [&](int32_t s) {
      const uint32_t own = sets[s];
      int32_t reached[4] = {};  // four sums that do not wait for each other
      for (int32_t other = 0; other < kFewSets; other += 4) {
        for (int32_t i = 0; i < 4; ++i) reached[i] += sets[other + i] >= own ? 1 : 0;
      }
      return reached[0] + reached[1] + reached[2] + reached[3] >= row.top_k ? own : 0u;
    });
    const uint32_t least = weighing.least_key();
    if (bound < least) bound = least;
  }
  CandidateList& list = scratch.list;
  const int32_t count = list_scores(block, list, view, keys, {bound, INT32_MAX});
  if (count > kListed) return -1;
  if (row.greedy) {
    return static_cast<int32_t>(
        block.smallest(count, [&](int32_t i) { return static_cast<uint32_t>(list.token(i)); }));
  }
  return draw_from_list(block, list, count, weighing, row, 0);
}

}  // namespace qwend::cuda
