// Draws the token of one row: kernels/sampling.h after bias and penalties, by one thread block, from what the
// first look at the logits (sampler_kernels.cu) left behind. Written against Block (sampler_block.cuh).
//
// Candidates that fit a list (top_k up to 512; a narrow nucleus) are filtered there, each filter by counting
// what lies before a candidate. Otherwise thresholds are found by histograms over the groups that can matter.
// Either way the draw takes the kept tokens in the order of their ids.
#pragma once
#include "kernels/cuda/sampler_list.h"

namespace qwend::cuda {

// What the first look at a row found. sums[g]: e^((score - largest of the group) * scale) over group g.
struct FirstLook {
  const uint32_t* keys = nullptr;      // [groups] score_key of the largest score of each group
  const float* sums = nullptr;         // [groups] where DeviceRow::needs_sums()
  const uint32_t* raw_keys = nullptr;  // the same of the raw logits, scale 1, where num_logprobs >= 0
  const float* raw_sums = nullptr;
};

// All that is known of a row beforehand. On the device in shared memory.
struct RowTask {
  DeviceRow row;
  FirstLook look;
  ScoreView edited, without_bans, raw;
  QWEND_ROW_FN void set_views(const float* logits, int32_t vocab) {
    edited = edited_view(logits, vocab, row);
    without_bans = edited;
    without_bans.banned = nullptr;
    raw = raw_view(logits, vocab);
  }
};

template <class Block>
class RowSampler {
 public:
  QWEND_ROW_FN RowSampler(Block& block, const RowTask& task, const RowScratch& scratch)
      : block_(block), task_(task), row_(task.row), scratch_(scratch), view_(&task.edited) {}

  // tops: room for num_logprobs + num_logprob_tokens entries from row.first_top on; logits in place of
  // log-probabilities, in no order.
  QWEND_ROW_FN DrawnRow draw(TokenLogprob* tops) {
    DrawnRow drawn;
    top_key_ = load_keys(task_.look.keys);
    if (top_key_ == kNeverKey) forgo_bans(drawn);
    if (top_key_ != kNeverKey) {
      const int32_t sampled = row_.greedy ? -1 : sample();
      drawn.token = sampled >= 0 ? sampled : lowest_of_largest();
    }
    if (drawn.status == DrawStatus::Ok && row_.num_logprobs >= 0) log_probabilities(drawn, tops);
    return drawn;
  }

 private:
  QWEND_ROW_FN uint32_t load_keys(const uint32_t* keys) {
    block_.each(scratch_.groups, [&](int32_t g) { scratch_.keys()[g] = keys[g]; });
    return block_.largest(scratch_.groups, [&](int32_t g) { return scratch_.keys()[g]; });
  }

  // No token is left. Bans give way; the mask does not. Leaves the largest key, or decides by itself.
  QWEND_ROW_FN void forgo_bans(DrawnRow& drawn) {
    sums_hold_ = false;
    block_.group_keys(task_.raw, scratch_.keys());
    if (block_.largest(scratch_.groups, [&](int32_t g) { return scratch_.keys()[g]; }) == kNeverKey) {
      drawn.status = DrawStatus::NoFiniteLogit;
      return;
    }
    view_ = &task_.without_bans;
    block_.group_keys(*view_, scratch_.keys());
    top_key_ = block_.largest(scratch_.groups, [&](int32_t g) { return scratch_.keys()[g]; });
    if (top_key_ != kNeverKey) return;
    if (view_->allowed == nullptr) return;  // token 0
    const uint32_t none = UINT32_MAX;       // allowed tokens whose logits are all -inf: the lowest id
    const uint32_t first = block_.smallest(scratch_.groups * kGroupWords, [&](int32_t w) {
      const uint32_t word = view_->allowed[w];
      return word == 0 ? none : static_cast<uint32_t>(w * 32 + lowest_bit(word));
    });
    if (first < static_cast<uint32_t>(view_->vocab)) {
      drawn.token = static_cast<int32_t>(first);
    } else {
      drawn.status = DrawStatus::EmptyMask;
    }
  }

  QWEND_ROW_FN int32_t lowest_of_largest() {
    const uint32_t group = block_.smallest(scratch_.groups, [&](int32_t g) {
      return scratch_.keys()[g] == top_key_ ? static_cast<uint32_t>(g) : UINT32_MAX;
    });
    const auto first = static_cast<int32_t>(group) * kGroup;
    return static_cast<int32_t>(block_.smallest(kGroup, [&](int32_t i) {
      const int32_t token = first + i;
      const bool best = token < view_->vocab && score_key(score_of(*view_, token)) == top_key_;
      return best ? static_cast<uint32_t>(token) : UINT32_MAX;
    }));
  }

  // -1 where rounding leaves nothing at the row's random number.
  QWEND_ROW_FN int32_t sample() {
    weighing_ = {key_score(top_key_), row_.scale};
    least_ = weighing_.least_key();
    const bool typical = row_.typical_p < 1.0f, nucleus = row_.top_p < 1.0f;
    if (row_.min_p > 0.0f && !typical && !nucleus) raise_least(static_cast<double>(row_.min_p) * 0.999);
    uint64_t total = 0;
    bool listable = row_.top_k > 0 && row_.top_k <= kListed;
    if (row_.top_k == 0 && !typical && nucleus) {
      // Weights below (1 - top_p) / V of the total add up to less than 1 - top_p of it: the nucleus holds
      // none of them. Half of that leaves room for rounding.
      total = total_weight();
      raise_least(0.5 * (1.0 - static_cast<double>(row_.top_p)) * unfixed(total) / view_->vocab);
      listable = true;
    }
    if (listable) {
      const int32_t count = list_largest(block_, scratch_, *view_, top_key_, least_, row_.top_k);
      if (count <= kListed) return draw_from_list(block_, scratch_.list(), count, weighing_, row_, total);
    }
    if (row_.top_k == 0 && !typical && !nucleus && row_.min_p <= 0.0f && row_.xtc_threshold < 0.0f &&
        sums_hold_) {
      weigh_groups(task_.look.sums);
      Kept all;
      all.by_score.key = least_;
      return draw_from_groups(block_, scratch_, *view_, weighing_, all, row_);
    }
    return draw_from_row(block_, scratch_, *view_, weighing_, row_, top_key_, least_, total);
  }
  // No token of a lower weight is wanted.
  QWEND_ROW_FN void raise_least(double lowest_weight) {
    const double exponent = log(lowest_weight) / static_cast<double>(row_.scale);
    const uint32_t bound = score_key(static_cast<float>(static_cast<double>(weighing_.top) + exponent));
    if (bound > least_) least_ = bound <= top_key_ ? bound : top_key_;
  }

  // Of the whole row.
  QWEND_ROW_FN uint64_t total_weight() {
    if (!sums_hold_) {
      return block_.sum_scores(*view_, scratch_.keys(), least_,
                               [&](int32_t, float score) { return weighing_.amount(score); });
    }
    return weigh_groups(task_.look.sums);
  }
  // Leaves the groups' weights in scratch_.sums and returns their sum.
  QWEND_ROW_FN uint64_t weigh_groups(const float* sums) {
    block_.each(scratch_.groups, [&](int32_t g) {
      const float largest = weighing_.weight(key_score(scratch_.keys()[g]));
      scratch_.sums()[g] = fixed(static_cast<double>(largest) * static_cast<double>(sums[g]));
    });
    return block_.sum(scratch_.groups, [&](int32_t g) { return scratch_.sums()[g]; });
  }

  // ---- log-probabilities, of the raw logits

  QWEND_ROW_FN void log_probabilities(DrawnRow& drawn, TokenLogprob* tops) {
    view_ = &task_.raw;
    top_key_ = load_keys(task_.look.raw_keys);
    weighing_ = {key_score(top_key_), 1.0f};
    const uint64_t total = weigh_groups(task_.look.raw_sums);
    drawn.log_sum = static_cast<float>(static_cast<double>(weighing_.top) + log(unfixed(total)));
    drawn.logit = finite_logit(view_->logits[drawn.token]);
    if (row_.num_logprobs > 0) drawn.num_top = write_largest(tops + row_.first_top);
    block_.each(row_.num_logprob_tokens, [&](int32_t i) {
      const int32_t token = row_.logprob_tokens[i];
      tops[row_.first_top + drawn.num_top + i] = {token, finite_logit(view_->logits[token])};
    });
  }

  // Returns how many there are.
  QWEND_ROW_FN int32_t write_largest(TokenLogprob* tops) {
    const int32_t wanted = row_.num_logprobs;
    if (wanted <= kListed) {
      const int32_t count = list_largest(block_, scratch_, *view_, top_key_, kNeverKey + 1, wanted);
      const CandidateList& list = scratch_.list();
      block_.each(count, [&](int32_t i) {
        int32_t place = 0;
        for (int32_t j = 0; j < count; ++j) place += list.order[j] > list.order[i] ? 1 : 0;
        if (place < wanted) tops[place] = {list.token(i), list.score(i)};
      });
      return count < wanted ? count : wanted;
    }
    const uint32_t least = bound_of_largest(block_, scratch_, top_key_, kNeverKey + 1, wanted);
    const Cut cut = cut_after(block_, scratch_, *view_, least, top_key_, wanted);
    block_.each(1, [&](int32_t) { *scratch_.counter() = 0; });
    block_.each_score(*view_, scratch_.keys(), cut.key, [&](int32_t token, float score) {
      if (cut.keeps(score_key(score), token)) tops[block_.add(scratch_.counter(), 1)] = {token, score};
    });
    return block_.read(scratch_.counter());
  }

  Block& block_;
  const RowTask& task_;
  const DeviceRow& row_;
  const RowScratch scratch_;
  const ScoreView* view_;  // one of the task's
  bool sums_hold_ = true;  // look.sums are those of *view_
  uint32_t top_key_ = kNeverKey;
  Weighing weighing_;
  uint32_t least_ = kNeverKey + 1;  // keys below cannot be drawn
};

}  // namespace qwend::cuda
