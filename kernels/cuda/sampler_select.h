// Finding thresholds without sorting: which scores of a row belong to the k largest, or to the largest that
// hold a share of the weight; and drawing from what is left of a row of any width. Written against Block
// (sampler_block.cuh): every function is called by all threads of a block with the same arguments and returns
// the same to all of them.
#pragma once
#include "kernels/cuda/sampler_row.h"

namespace qwend::cuda {

inline constexpr int32_t kListed = 512;  // candidates that fit into the block's memory
inline constexpr int32_t kBinBits = 12;
inline constexpr int32_t kBins = 1 << kBinBits;

// A few candidates of a row, in no order. Of those that were dropped the amount is 0.
struct CandidateList {
  uint64_t order[kListed];  // larger for the larger score, or the lower token at equal scores
  uint64_t amount[kListed];
  uint64_t figure[kListed];  // what a filter finds out about each
  uint64_t weight;           // of all that keep_largest() looked at
  int32_t group[kListed];    // groups that hold candidates
  int32_t num_groups, count;
  int32_t drawn;
  QWEND_ROW_FN void set(int32_t i, int32_t token, float score) {
    order[i] = uint64_t{score_key(score)} << 32 | ~static_cast<uint32_t>(token);
  }
  QWEND_ROW_FN int32_t token(int32_t i) const {
    return static_cast<int32_t>(~static_cast<uint32_t>(order[i]));
  }
  QWEND_ROW_FN float score(int32_t i) const { return key_score(static_cast<uint32_t>(order[i] >> 32)); }
};

// Shared memory of a block that samples a row: bins or a list, and two figures of each group.
struct RowScratch {
  unsigned char* memory;
  int32_t groups;
  static constexpr size_t kWork = sizeof(CandidateList) > kBins * sizeof(uint64_t) ? sizeof(CandidateList)
                                                                                   : kBins * sizeof(uint64_t);
  static constexpr size_t bytes(int32_t groups) {
    return kWork + static_cast<size_t>(groups) * (sizeof(uint64_t) + sizeof(uint32_t)) + sizeof(int32_t);
  }
  // Never both: what one writes overwrites the other.
  QWEND_ROW_FN uint64_t* bins() const { return reinterpret_cast<uint64_t*>(memory); }
  QWEND_ROW_FN CandidateList& list() const { return *reinterpret_cast<CandidateList*>(memory); }

  QWEND_ROW_FN uint64_t* sums() const { return reinterpret_cast<uint64_t*>(memory + kWork); }  // [groups]
  // [groups] the largest score_key of each
  QWEND_ROW_FN uint32_t* keys() const { return reinterpret_cast<uint32_t*>(sums() + groups); }
  QWEND_ROW_FN int32_t* counter() const { return reinterpret_cast<int32_t*>(keys() + groups); }  // one
};

// Where a prefix sum crosses a target.
struct Crossing {
  int32_t index = -1;   // the first whose prefix sum exceeds the target; -1 where all amounts are 0
  uint64_t before = 0;  // sum of what lies before it
  uint64_t amount = 0;  // its own
  uint64_t total = 0;
};

// A prefix of the tokens ordered by key, largest first, lowest token first among equals.
struct Cut {
  uint32_t key = 0;
  int32_t last_tie = INT32_MAX;  // the last token kept of those whose key is `key`
  QWEND_ROW_FN bool keeps(uint32_t other, int32_t token) const {
    return other > key || (other == key && token <= last_tie);
  }
};

// Distances below the largest key in bins that grow with the distance, 8 an octave: fine at the top, and
// robust to whatever lies far below.
inline constexpr int32_t kDistanceBins = 240;
QWEND_ROW_FN int32_t distance_bin(uint32_t distance) {
  if (distance < 8) return static_cast<int32_t>(distance);
  const int32_t octave = highest_bit(distance);
  return (octave - 2) * 8 + static_cast<int32_t>(distance >> (octave - 3) & 7u);
}
QWEND_ROW_FN uint32_t bin_end(int32_t bin) {  // the largest distance in it
  if (bin < 8) return static_cast<uint32_t>(bin);
  return (static_cast<uint32_t>(bin % 8 + 9) << (bin / 8 - 1)) - 1u;
}

// A key that at least `count` groups reach, so that at least `count` scores do; `least` where fewer groups
// reach that. A little low rather than exact.
template <class Block>
QWEND_ROW_FN uint32_t bound_of_largest(Block& block, const RowScratch& scratch, uint32_t top_key,
                                       uint32_t least, int32_t count) {
  if (count > scratch.groups) return least;
  uint64_t* bins = scratch.bins();
  block.each(kDistanceBins, [&](int32_t b) { bins[b] = 0; });
  block.each(scratch.groups, [&](int32_t g) {
    const uint32_t key = scratch.keys()[g];
    if (key >= least) block.add_wide(&bins[distance_bin(top_key - key)], 1);
  });
  const Crossing at = block.cross(
      kDistanceBins, [&](int32_t b) { return bins[b]; }, static_cast<uint64_t>(count - 1));
  if (at.total < static_cast<uint64_t>(count)) return least;
  const uint32_t distance = bin_end(at.index);
  return distance < top_key - least ? top_key - distance : least;
}

// Weights of one row: e^((score - top) * scale), at most 1.
struct Weighing {
  float top = 0.0f;
  float scale = 1.0f;
  QWEND_ROW_FN float exponent(float score) const { return (score - top) * scale; }
  QWEND_ROW_FN float weight(float score) const { return expf(exponent(score)); }
  QWEND_ROW_FN uint64_t amount(float score) const { return fixed(static_cast<double>(weight(score))); }
  // The least weight that min_p keeps beside this largest one.
  QWEND_ROW_FN double least(float min_p, uint32_t largest_key) const {
    return static_cast<double>(min_p) * static_cast<double>(weight(key_score(largest_key)));
  }
  // The least key that can be drawn: weights further below round to 0.
  QWEND_ROW_FN uint32_t least_key() const {
    const uint32_t key = score_key(bounded(top - 31.0f / scale));
    return key > kNeverKey ? key : kNeverKey + 1;
  }
  // -w log w, at most 1 / e
  QWEND_ROW_FN uint64_t information(float score) const {
    const float at = exponent(score);
    return fixed(static_cast<double>(expf(at)) * static_cast<double>(at < 0.0f ? -at : 0.0f));
  }
};

// Locally typical sampling (Meister et al., 2023) prefers tokens whose information, log total - exponent, is
// closest to the entropy, log total - mean exponent. Keys are larger for closer tokens.
inline constexpr uint32_t kFarthestKey = ~0x42800000u;  // off by 64; weights are 0 from 31 below the largest
QWEND_ROW_FN uint32_t typical_key(float exponent, double mean_exponent) {
  const double deviation = static_cast<double>(exponent) - mean_exponent;
  return ~float_bits(static_cast<float>(deviation < 0.0 ? -deviation : deviation));
}

enum class Order : uint8_t { Score, Typical };
enum class Amount : uint8_t { One, Weight };

// The tokens of a row that the filters so far have left.
struct Kept {
  Cut by_score;
  Cut typical;  // key 0: no such filter
  double mean_exponent = 0.0;
  double least_weight = 0.0;
  Cut excluded{UINT32_MAX, INT32_MAX};  // what XTC drops; no score has this key
  QWEND_ROW_FN uint32_t key(Order order, const Weighing& weighing, float score) const {
    return order == Order::Score ? score_key(score) : typical_key(weighing.exponent(score), mean_exponent);
  }
  QWEND_ROW_FN uint64_t amount(Amount what, const Weighing& weighing, int32_t token, float score) const {
    if (!by_score.keeps(score_key(score), token) || excluded.keeps(score_key(score), token)) return 0;
    if (what == Amount::One) return 1;
    if (typical.key != 0 && !typical.keeps(key(Order::Typical, weighing, score), token)) return 0;
    const auto w = static_cast<double>(weighing.weight(score));
    return w >= least_weight ? fixed(w) : 0;
  }
};

// The shortest prefix of the tokens in `kept`, in this order, whose amounts add up to `wanted`; all tokens
// from key `lo` on where they do not. Keys are in [lo, hi], or the amount is 0. Each round narrows that range
// to one of kBins bins.
template <class Block>
QWEND_ROW_CALL Cut select_cut(Block block, RowScratch scratch, const ScoreView& view, Weighing weighing,
                              const Kept& kept, Order order, Amount what, uint32_t lo, uint32_t hi,
                              uint64_t wanted) {
  uint64_t* bins = scratch.bins();
  uint64_t above = 0, last_amount = 0;
  const auto least_group = [&] {
    return order == Order::Score && lo > kept.by_score.key ? lo : kept.by_score.key;
  };
  while (lo < hi) {
    const uint32_t span = hi - lo;
    const int32_t shift = highest_bit(span) < kBinBits ? 0 : highest_bit(span) - kBinBits + 1;
    const int32_t num_bins = static_cast<int32_t>(span >> shift) + 1;
    block.each(num_bins, [&](int32_t b) { bins[b] = 0; });
    block.each_score(view, scratch.keys(), least_group(), [&](int32_t token, float score) {
      const uint32_t key = kept.key(order, weighing, score);
      if (key < lo || key > hi) return;
      block.add_wide(&bins[(hi - key) >> shift], kept.amount(what, weighing, token, score));
    });
    const Crossing at = block.cross(
        num_bins, [&](int32_t b) { return bins[b]; }, wanted - above - 1);
    if (above + at.total < wanted) return {lo, INT32_MAX};
    above += at.before;
    last_amount = at.amount;
    hi -= static_cast<uint32_t>(at.index) << shift;
    const uint32_t width = (1u << shift) - 1u;
    if (hi - lo > width) lo = hi - width;
  }
  // One token alone has the last key: no need to choose among ties.
  if (order == Order::Score && last_amount != 0 &&
      last_amount == (what == Amount::One ? 1 : weighing.amount(key_score(lo)))) {
    return {lo, INT32_MAX};
  }
  // As many of those that share it as are needed, lowest first.
  const auto tied = [&](int32_t token, float score) {
    return kept.key(order, weighing, score) == lo ? kept.amount(what, weighing, token, score) : uint64_t{0};
  };
  block.group_sums(view, scratch.keys(), least_group(), tied, scratch.sums());
  const Crossing group = block.cross(
      view.groups(), [&](int32_t g) { return scratch.sums()[g]; }, wanted - above - 1);
  if (above + group.total < wanted) return {lo, INT32_MAX};
  const auto tied_at = [&](int32_t i) {
    const int32_t token = group.index * kGroup + i;
    return token < view.vocab ? tied(token, score_of(view, token)) : uint64_t{0};
  };
  const Crossing inside = block.cross(kGroup, tied_at, wanted - above - 1 - group.before);
  return {lo, group.index * kGroup + inside.index};
}

// The `count` largest scores of those in [least, top_key]. Overwrites work.
template <class Block>
QWEND_ROW_FN Cut cut_after(Block& block, const RowScratch& scratch, const ScoreView& view, uint32_t least,
                           uint32_t top_key, int32_t count) {
  const Kept all{{least, INT32_MAX}, {}, 0.0, 0.0};
  return select_cut(block, scratch, view, Weighing{}, all, Order::Score, Amount::One, least, top_key,
                    static_cast<uint64_t>(count));
}

// ---- drawing from any number of candidates

// What the row's random number points at in a sum of weights.
QWEND_ROW_FN uint64_t target_of(const DeviceRow& row, uint64_t total) {
  return static_cast<uint64_t>(row.uniform * static_cast<double>(total));
}

// Draws from the groups, whose kept weights scratch.sums() holds, then from the kept tokens of the group
// drawn. -1 where rounding leaves nothing at that point.
template <class Block>
QWEND_ROW_CALL int32_t draw_from_groups(Block block, RowScratch scratch, const ScoreView& view,
                                        Weighing weighing, const Kept& kept, const DeviceRow& row) {
  const auto sum_at = [&](int32_t g) { return scratch.sums()[g]; };
  const uint64_t at = target_of(row, block.sum(scratch.groups, sum_at));
  const Crossing group = block.cross(scratch.groups, sum_at, at);
  if (group.index < 0) return -1;
  const auto amount_at = [&](int32_t i) {
    const int32_t token = group.index * kGroup + i;
    if (token >= view.vocab) return uint64_t{0};
    return kept.amount(Amount::Weight, weighing, token, score_of(view, token));
  };
  const Crossing token = block.cross(kGroup, amount_at, at > group.before ? at - group.before : 0);
  return token.index < 0 ? -1 : group.index * kGroup + token.index;
}

// All tokens that hold at least `threshold` of what is kept, but the last of them.
template <class Block>
QWEND_ROW_CALL Cut top_choices(Block block, RowScratch scratch, const ScoreView& view, Weighing weighing,
                               const Kept& kept, float threshold) {
  const auto weight = [&](int32_t token, float score) {
    return kept.amount(Amount::Weight, weighing, token, score);
  };
  const uint32_t from = kept.by_score.key;
  const uint64_t least = share_of(threshold, block.sum_scores(view, scratch.keys(), from, weight));
  const uint32_t lowest = block.largest_score(view, scratch.keys(), from, [&](int32_t token, float score) {
    return weight(token, score) >= least ? ~score_key(score) : 0u;
  });
  if (lowest == 0) return {UINT32_MAX, INT32_MAX};  // there are none
  const uint32_t end = block.largest_score(view, scratch.keys(), from, [&](int32_t token, float score) {
    const bool last = score_key(score) == ~lowest && weight(token, score) >= least;
    return last ? static_cast<uint32_t>(token) + 1u : 0u;
  });
  return {~lowest, static_cast<int32_t>(end) - 2};
}

// total: the weight that top_p takes its share of; 0: what the filters before it leave. Scores below `least`
// have no weight, or are known not to be kept. -1 as above.
template <class Block>
QWEND_ROW_CALL int32_t draw_from_row(Block block, RowScratch scratch, const ScoreView& view,
                                     Weighing weighing, const DeviceRow& row, uint32_t top_key,
                                     uint32_t least, uint64_t total) {
  Kept kept;
  kept.by_score.key = least;
  const auto kept_weight = [&](int32_t token, float score) {
    return kept.amount(Amount::Weight, weighing, token, score);
  };
  const auto weight_left = [&] {
    return block.sum_scores(view, scratch.keys(), kept.by_score.key, kept_weight);
  };
  if (row.top_k > 0) {
    kept.by_score.key = bound_of_largest(block, scratch, top_key, least, row.top_k);
    kept.by_score = select_cut(block, scratch, view, weighing, kept, Order::Score, Amount::One,
                               kept.by_score.key, top_key, static_cast<uint64_t>(row.top_k));
  }
  if (row.typical_p < 1.0f) {
    const uint64_t before = weight_left();
    const uint64_t information =
        block.sum_scores(view, scratch.keys(), kept.by_score.key, [&](int32_t token, float score) {
          return kept.by_score.keeps(score_key(score), token) ? weighing.information(score) : uint64_t{0};
        });
    kept.mean_exponent = -static_cast<double>(information) / static_cast<double>(before);
    kept.typical = select_cut(block, scratch, view, weighing, kept, Order::Typical, Amount::Weight,
                              kFarthestKey, UINT32_MAX, share_of(row.typical_p, before));
  }
  if (row.top_p < 1.0f) {
    if (total == 0) total = weight_left();
    const Cut nucleus = select_cut(block, scratch, view, weighing, kept, Order::Score, Amount::Weight,
                                   kept.by_score.key, top_key, share_of(row.top_p, total));
    if (nucleus.key > kept.by_score.key || nucleus.last_tie < kept.by_score.last_tie) kept.by_score = nucleus;
  }
  if (row.min_p > 0.0f) {
    uint32_t largest = top_key;
    if (row.typical_p < 1.0f) {
      largest = block.largest_score(view, scratch.keys(), kept.by_score.key, [&](int32_t token, float score) {
        return kept_weight(token, score) > 0 ? score_key(score) : kNeverKey;
      });
    }
    kept.least_weight = weighing.least(row.min_p, largest);
  }
  if (row.xtc_threshold >= 0.0f) {
    kept.excluded = top_choices(block, scratch, view, weighing, kept, row.xtc_threshold);
  }
  block.group_sums(view, scratch.keys(), kept.by_score.key, kept_weight, scratch.sums());
  return draw_from_groups(block, scratch, view, weighing, kept, row);
}

}  // namespace qwend::cuda
