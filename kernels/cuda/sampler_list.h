// Drawing from a few candidates, listed in shared memory: each filter counts what lies before a candidate.
// Written against Block (sampler_block.cuh), as sampler_select.h.
#pragma once
#include "kernels/cuda/sampler_select.h"

namespace qwend::cuda {

// Puts the tokens that the cut keeps into the list, by ascending token. Returns how many there are; more than
// kListed: the list is not made.
template <class Block>
QWEND_ROW_FN int32_t list_scores(Block& block, const RowScratch& scratch, const ScoreView& view,
                                 const Cut& cut) {
  CandidateList& list = scratch.list();
  block.each(1, [&](int32_t) { *scratch.counter() = 0; });
  block.each_score(view, scratch.keys(), cut.key, [&](int32_t token, float score) {
    if (!cut.keeps(score_key(score), token)) return;
    const int32_t i = block.add(scratch.counter(), 1);
    if (i < kListed) list.found_token[i] = token, list.found_score[i] = score;
  });
  const int32_t count = block.read(scratch.counter());
  if (count > kListed) return count;
  block.each(count, [&](int32_t i) {
    int32_t place = 0;
    for (int32_t j = 0; j < count; ++j) place += list.found_token[j] < list.found_token[i] ? 1 : 0;
    list.token[place] = list.found_token[i];
    list.score[place] = list.found_score[i];
  });
  return count;
}

// A list of scores with keys from `least` on: all of them, or, with `wanted` (<= kListed) given, at least the
// `wanted` largest. Returns how many there are; more than kListed: the list is not made.
template <class Block>
QWEND_ROW_CALL int32_t list_largest(Block block, RowScratch scratch, const ScoreView& view, uint32_t top_key,
                                    uint32_t least, int32_t wanted) {
  Cut cut{least, INT32_MAX};
  if (wanted > 0) cut.key = bound_of_largest(block, scratch, top_key, least, wanted);
  while (true) {
    const int32_t count = list_scores(block, scratch, view, cut);
    if (count <= kListed || wanted == 0) return count;
    cut = cut_after(block, scratch, view, cut.key, top_key, wanted);
  }
}

// Of candidates i and j: whether i has the larger score, or the lower token at equal scores.
QWEND_ROW_FN bool heavier(const CandidateList& list, int32_t i, int32_t j) {
  return list.score[i] > list.score[j] || (list.score[i] == list.score[j] && list.token[i] < list.token[j]);
}

// Drops candidates before which, in the order `before(i, j)`, at least `wanted` lies already.
template <class Block, class Before>
QWEND_ROW_FN void keep_first(Block& block, CandidateList& list, int32_t count, uint64_t wanted,
                             Before before) {
  block.each(count, [&](int32_t i) {
    uint64_t sum = 0;
    for (int32_t j = 0; j < count; ++j) sum += before(j, i) ? list.amount[j] : 0;
    list.next_amount[i] = sum < wanted ? list.amount[i] : 0;
  });
  block.each(count, [&](int32_t i) { list.amount[i] = list.next_amount[i]; });
}

template <class Block>
QWEND_ROW_FN uint64_t listed_weight(Block& block, const CandidateList& list, int32_t count) {
  return block.sum(count, [&](int32_t i) { return list.amount[i]; });
}

template <class Block>
QWEND_ROW_FN void keep_typical(Block& block, CandidateList& list, int32_t count, Weighing weighing,
                               float typical_p) {
  const uint64_t total = listed_weight(block, list, count);
  const uint64_t information = block.sum(count, [&](int32_t i) {
    return list.amount[i] > 0 ? weighing.information(list.score[i]) : uint64_t{0};
  });
  const double mean = -static_cast<double>(information) / static_cast<double>(total);
  const auto key = [&](int32_t i) { return typical_key(weighing.exponent(list.score[i]), mean); };
  keep_first(block, list, count, share_of(typical_p, total),
             [&](int32_t i, int32_t j) { return key(i) != key(j) ? key(i) > key(j) : heavier(list, i, j); });
}

// Of the candidates that hold at least `threshold` of what is left, only the last stays.
template <class Block>
QWEND_ROW_FN void exclude_top_choices(Block& block, CandidateList& list, int32_t count, float threshold) {
  const uint64_t least = share_of(threshold, listed_weight(block, list, count));
  block.each(count, [&](int32_t i) {
    bool excluded = false;
    for (int32_t j = 0; j < count && list.amount[i] >= least; ++j) {
      excluded |= list.amount[j] >= least && heavier(list, i, j);
    }
    list.next_amount[i] = excluded ? 0 : list.amount[i];
  });
  block.each(count, [&](int32_t i) { list.amount[i] = list.next_amount[i]; });
}

// total: the weight that top_p takes its share of; 0: the candidates'. -1 where no candidate has a weight.
template <class Block>
QWEND_ROW_CALL int32_t draw_from_list(Block block, CandidateList& list, int32_t count, Weighing weighing,
                                      const DeviceRow& row, uint64_t total) {
  const auto by_score = [&](int32_t i, int32_t j) { return heavier(list, i, j); };
  const bool too_many = row.top_k > 0 && row.top_k < count;
  block.each(count, [&](int32_t i) { list.amount[i] = too_many ? 1 : weighing.amount(list.score[i]); });
  if (too_many) {
    keep_first(block, list, count, static_cast<uint64_t>(row.top_k), by_score);
    block.each(count, [&](int32_t i) { list.amount[i] *= weighing.amount(list.score[i]); });
  }
  if (row.typical_p < 1.0f) keep_typical(block, list, count, weighing, row.typical_p);
  if (row.top_p < 1.0f) {
    const uint64_t whole = total > 0 ? total : listed_weight(block, list, count);
    keep_first(block, list, count, share_of(row.top_p, whole), by_score);
  }
  if (row.min_p > 0.0f) {
    const uint32_t largest = block.largest(
        count, [&](int32_t i) { return list.amount[i] > 0 ? score_key(list.score[i]) : kNeverKey; });
    const double least = weighing.least(row.min_p, largest);
    block.each(count, [&](int32_t i) {
      if (static_cast<double>(weighing.weight(list.score[i])) < least) list.amount[i] = 0;
    });
  }
  if (row.xtc_threshold >= 0.0f) exclude_top_choices(block, list, count, row.xtc_threshold);
  const uint64_t at = target_of(row, listed_weight(block, list, count));
  const Crossing drawn = block.cross(
      count, [&](int32_t i) { return list.amount[i]; }, at);
  return drawn.index < 0 ? -1 : block.read(&list.token[drawn.index]);
}

}  // namespace qwend::cuda
