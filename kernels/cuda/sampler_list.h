// Drawing from a few candidates, listed in shared memory: each filter counts what lies before a candidate.
// Written against Block (sampler_block.cuh), as sampler_select.h.
#pragma once
#include "kernels/cuda/sampler_select.h"

namespace qwend::cuda {

// Lists the tokens that the cut keeps. keys: [groups] the largest score_key of each. Returns how many there
// are; more than kListed: the list is not made.
template <class Block>
QWEND_ROW_FN int32_t list_scores(Block& block, CandidateList& list, const ScoreView& view,
                                 const uint32_t* keys, const Cut& cut) {
  block.each(1, [&](int32_t) { list.num_groups = list.count = 0; });
  block.each(view.groups(), [&](int32_t g) {
    if (!cut.keeps(keys[g], g * kGroup)) return;
    const int32_t i = block.add(&list.num_groups, 1);
    if (i < kListed) list.group[i] = g;
  });
  const int32_t num_groups = block.read(&list.num_groups);
  if (num_groups > kListed) return num_groups;  // each of them holds a candidate
  block.each_score_of(view, list.group, num_groups, [&](int32_t token, float score) {
    if (!cut.keeps(score_key(score), token)) return;
    const int32_t i = block.add(&list.count, 1);
    if (i < kListed) list.set(i, token, score);
  });
  return block.read(&list.count);
}

// A list of scores with keys from `least` on: all of them, or, with `wanted` (<= kListed) given, at least the
// `wanted` largest. Returns how many there are; more than kListed: the list is not made.
template <class Block>
QWEND_ROW_CALL int32_t list_largest(Block block, RowScratch scratch, const ScoreView& view, uint32_t top_key,
                                    uint32_t least, int32_t wanted) {
  Cut cut{least, INT32_MAX};
  if (wanted > 0) cut.key = bound_of_largest(block, scratch, top_key, least, wanted);
  while (true) {
    const int32_t count = list_scores(block, scratch.list(), view, scratch.keys(), cut);
    if (count <= kListed || wanted == 0) return count;
    cut = cut_after(block, scratch, view, cut.key, top_key, wanted);
  }
}

// Keeps the `most` largest (0: all), and of those the first that together hold top_p of `total` (0: of their
// own weight). One look at all pairs finds both: what lies before a candidate that is kept is kept as well.
template <class Block>
QWEND_ROW_FN void keep_largest(Block& block, CandidateList& list, int32_t count, int32_t most, float top_p,
                               uint64_t total) {
  constexpr uint64_t kDropped = UINT64_MAX;  // as a figure: not among the `most` largest
  const bool too_many = most > 0 && most < count;
  if (!too_many && top_p >= 1.0f) return;
  const int32_t last = (too_many ? most : count) - 1;
  block.each(count, [&](int32_t i) {
    const uint64_t own = list.order[i];
    int32_t rank = 0;
    uint64_t before = 0;
    for (int32_t j = 0; j < count; ++j) {
      if (list.order[j] > own) {
        ++rank;
        before += list.amount[j];
      }
    }
    list.figure[i] = rank <= last ? before : kDropped;
    if (rank == last) list.weight = before + list.amount[i];
  });
  const uint64_t whole = total > 0 ? total : list.weight;
  const uint64_t wanted = top_p < 1.0f ? share_of(top_p, whole) : kDropped;
  block.each(count, [&](int32_t i) {
    if (list.figure[i] >= wanted) list.amount[i] = 0;
  });
}

template <class Block>
QWEND_ROW_FN uint64_t listed_weight(Block& block, const CandidateList& list, int32_t count) {
  return block.sum(count, [&](int32_t i) { return list.amount[i]; });
}

// Drops candidates before which, closest to the entropy first, typical_p of the weight lies already.
template <class Block>
QWEND_ROW_FN void keep_typical(Block& block, CandidateList& list, int32_t count, Weighing weighing,
                               float typical_p) {
  const uint64_t total = listed_weight(block, list, count);
  const uint64_t information = block.sum(count, [&](int32_t i) {
    return list.amount[i] > 0 ? weighing.information(list.score(i)) : uint64_t{0};
  });
  const double mean = -static_cast<double>(information) / static_cast<double>(total);
  const uint64_t wanted = share_of(typical_p, total);
  const auto key = [&](int32_t i) { return typical_key(weighing.exponent(list.score(i)), mean); };
  block.each(count, [&](int32_t i) {
    uint64_t before = 0;
    for (int32_t j = 0; j < count; ++j) {
      const bool closer = key(j) != key(i) ? key(j) > key(i) : list.order[j] > list.order[i];
      before += closer ? list.amount[j] : 0;
    }
    list.figure[i] = before < wanted ? list.amount[i] : 0;
  });
  block.each(count, [&](int32_t i) { list.amount[i] = list.figure[i]; });
}

// Of the candidates that hold at least `threshold` of what is left, only the last stays.
template <class Block>
QWEND_ROW_FN void exclude_top_choices(Block& block, CandidateList& list, int32_t count, float threshold) {
  const uint64_t least = share_of(threshold, listed_weight(block, list, count));
  block.each(count, [&](int32_t i) {
    bool excluded = false;
    for (int32_t j = 0; j < count && list.amount[i] >= least; ++j) {
      excluded |= list.amount[j] >= least && list.order[i] > list.order[j];
    }
    list.figure[i] = excluded ? 0 : list.amount[i];
  });
  block.each(count, [&](int32_t i) { list.amount[i] = list.figure[i]; });
}

// Takes the candidates in the order of their ids. -1 where none has a weight.
template <class Block>
QWEND_ROW_FN int32_t draw_listed(Block& block, CandidateList& list, int32_t count, const DeviceRow& row) {
  block.each(1, [&](int32_t) { list.drawn = -1; });
  block.each(count, [&](int32_t i) {
    if (list.amount[i] == 0) return;
    const int32_t own = list.token(i);
    uint64_t before = 0, all = 0;
    for (int32_t j = 0; j < count; ++j) {
      const uint64_t amount = list.amount[j];
      all += amount;
      before += list.token(j) < own ? amount : 0;
    }
    uint64_t at = target_of(row, all);
    if (at >= all) at = all - 1;
    if (at >= before && at - before < list.amount[i]) list.drawn = own;
  });
  return block.read(&list.drawn);
}

// total: the weight that top_p takes its share of; 0: the candidates'. -1 where no candidate has a weight.
template <class Block>
QWEND_ROW_CALL int32_t draw_from_list(Block block, CandidateList& list, int32_t count, Weighing weighing,
                                      const DeviceRow& row, uint64_t total) {
  const bool typical = row.typical_p < 1.0f;
  block.each(count, [&](int32_t i) { list.amount[i] = weighing.amount(list.score(i)); });
  keep_largest(block, list, count, row.top_k, typical ? 1.0f : row.top_p, total);
  if (typical) {
    keep_typical(block, list, count, weighing, row.typical_p);
    keep_largest(block, list, count, 0, row.top_p, 0);
  }
  if (row.min_p > 0.0f) {
    const uint32_t largest = block.largest(
        count, [&](int32_t i) { return list.amount[i] > 0 ? score_key(list.score(i)) : kNeverKey; });
    const double least = weighing.least(row.min_p, largest);
    block.each(count, [&](int32_t i) {
      if (static_cast<double>(weighing.weight(list.score(i))) < least) list.amount[i] = 0;
    });
  }
  if (row.xtc_threshold >= 0.0f) exclude_top_choices(block, list, count, row.xtc_threshold);
  return draw_listed(block, list, count, row);
}

}  // namespace qwend::cuda
