// Scores of the tokens that bias and penalties touch, of one row or of a part of it, by one thread block.
#pragma once
#include "kernels/cuda/sampler_row.h"

namespace qwend::cuda {

// Not to be contracted into a multiply-add: the CPU sampler rounds twice.
QWEND_ROW_FN float rounded_product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

QWEND_ROW_FN float penalised(float score, const RowEdits& edits, int32_t count) {
  if (edits.repetition != 1.0f) score = score > 0.0f ? score / edits.repetition : score * edits.repetition;
  if (count > 0) {
    score -= edits.presence + rounded_product(edits.frequency, static_cast<float>(count));
  }
  return bounded(score);
}

// Fills bits, ranks and values of the tokens of groups [first_group, first_group + num_groups): those of a
// row whole, or part by part in any order, by different blocks. bits, ranks: the block's own copies,
// [num_groups * kGroupWords] and [num_groups]. drawn: what the step before drew. Block: see
// sampler_block.cuh.
template <class Block>
QWEND_ROW_FN void build_edits(Block& block, const RowEdits& edits, const float* logits, int32_t first_group,
                              int32_t num_groups, const int32_t* drawn, uint32_t* bits, int32_t* ranks) {
  constexpr uint32_t kSeen = 0x80000000u;  // in counts: in prompt or output
  const int32_t first_word = first_group * kGroupWords, num_words = num_groups * kGroupWords;
  const bool repetition = edits.repetition != 1.0f;
  const int32_t num_prompt = repetition ? edits.num_prompt : 0;
  const int32_t previous = edits.previous_row >= 0 ? drawn[edits.previous_row] : -1;
  const auto is_inside = [&](int32_t token) {
    return token / 32 >= first_word && token / 32 < first_word + num_words;
  };
  // Marks a token of this part. 1 for one that lies before it: such tokens have the values before this
  // part's, with room for as many as the lists name.
  const auto mark = [&](int32_t token) {
    const int32_t word = token / 32 - first_word;
    if (word >= 0 && word < num_words) block.bit_or(&bits[word], 1u << (token % 32));
    return uint64_t{word < 0};
  };
  block.each(num_words, [&](int32_t w) { bits[w] = 0; });
  uint64_t before = 0;
  if (edits.num_bias > 0) {
    before += block.sum(edits.num_bias, [&](int32_t i) { return mark(edits.bias[i].token); });
  }
  if (edits.num_after > 0) {
    before += block.sum(edits.num_after, [&](int32_t i) {
      return edits.after[i].previous == previous ? mark(edits.after[i].token) : 0;
    });
  }
  if (num_prompt > 0) before += block.sum_entries(edits.prompt, num_prompt, mark);
  if (edits.num_output > 0) before += block.sum_entries(edits.output, edits.num_output, mark);
  if (previous >= 0) before += block.sum(1, [&](int32_t) { return mark(previous); });
  const auto first_rank = static_cast<int32_t>(before);

  const auto bits_in_group = [&](int32_t g) {
    int32_t count = 0;
    for (int32_t w = g * kGroupWords; w < (g + 1) * kGroupWords; ++w) count += count_bits(bits[w]);
    return count;
  };
  const int32_t edited = block.prefix_sums(num_groups, bits_in_group, ranks);
  block.each(num_groups, [&](int32_t g) { edits.ranks[first_group + g] = first_rank + ranks[g]; });
  block.each(num_words, [&](int32_t w) { edits.bits[first_word + w] = bits[w]; });
  if (edited == 0) return;

  float* values = edits.values + first_rank;
  uint32_t* counts = edits.counts + first_rank;
  const auto rank_of = [&](int32_t token) {  // among this part's
    const int32_t word = token / 32 - first_word;
    int32_t rank = ranks[word / kGroupWords] + count_bits(bits[word] & ((1u << (token % 32)) - 1u));
    for (int32_t w = word / kGroupWords * kGroupWords; w < word; ++w) rank += count_bits(bits[w]);
    return rank;
  };
  block.each(edited, [&](int32_t r) { counts[r] = 0; });
  block.each(num_words, [&](int32_t w) {
    for (uint32_t left = bits[w]; left != 0; left &= left - 1) {
      const int32_t token = (first_word + w) * 32 + lowest_bit(left);
      values[rank_of(token)] = finite_logit(logits[token]);
    }
  });
  block.each(edits.num_bias, [&](int32_t i) {
    const int32_t token = edits.bias[i].token;
    if (!is_inside(token)) return;
    if (i > 0 && edits.bias[i - 1].token == token) return;  // the first entry of a token sees to all of them
    float& value = values[rank_of(token)];
    for (int32_t j = i; j < edits.num_bias && edits.bias[j].token == token; ++j) {
      value = bounded(value + edits.bias[j].bias);
    }
  });
  block.each(edits.num_after, [&](int32_t i) {  // no two of them for one token
    if (edits.after[i].previous != previous || !is_inside(edits.after[i].token)) return;
    float& value = values[rank_of(edits.after[i].token)];
    value = bounded(value + edits.after[i].bias);
  });
  const auto see = [&](int32_t token, uint32_t times) {
    if (!is_inside(token)) return uint64_t{0};
    uint32_t* count = &counts[rank_of(token)];
    block.bit_or(count, kSeen);
    if (times > 0) block.add(count, times);
    return uint64_t{0};
  };
  if (num_prompt > 0)
    block.sum_entries(edits.prompt, num_prompt, [&](int32_t token) { return see(token, 0); });
  if (edits.num_output > 0)
    block.sum_entries(edits.output, edits.num_output, [&](int32_t token) { return see(token, 1); });
  if (previous >= 0) block.sum(1, [&](int32_t) { return see(previous, 1); });
  block.each(edited, [&](int32_t r) {
    const uint32_t count = counts[r];
    if ((count & kSeen) == 0) return;
    values[r] = penalised(values[r], edits, static_cast<int32_t>(count & ~kSeen));
  });
}

}  // namespace qwend::cuda
