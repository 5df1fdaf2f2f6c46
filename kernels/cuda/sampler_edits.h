// Scores of the tokens that bias and penalties touch, of one row, by one thread block.
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

// Fills bits, ranks and values. bits, ranks: the block's shared copies, [groups * kGroupWords] and [groups].
// drawn: what the step before drew. Block: see sampler_block.cuh.
template <class Block>
QWEND_ROW_FN void build_edits(Block& block, const RowEdits& edits, const float* logits, int32_t vocab,
                              const int32_t* drawn, uint32_t* bits, int32_t* ranks) {
  constexpr uint32_t kSeen = 0x80000000u;  // in counts: in prompt or output
  const int32_t groups = (vocab + kGroup - 1) / kGroup;
  const bool repetition = edits.repetition != 1.0f;
  const int32_t num_prompt = repetition ? edits.num_prompt : 0;
  const int32_t num_output = edits.num_output + (edits.previous_row >= 0 ? 1 : 0);
  const auto output = [&](int32_t i) {
    return i < edits.num_output ? edits.output[i] : drawn[edits.previous_row];
  };
  const int32_t previous = edits.previous_row >= 0 ? drawn[edits.previous_row] : -1;
  const auto mark = [&](int32_t token) { block.bit_or(&bits[token / 32], 1u << (token % 32)); };
  const auto rank_of = [&](int32_t token) {
    const int32_t word = token / 32;
    int32_t rank = ranks[token / kGroup] + count_bits(bits[word] & ((1u << (token % 32)) - 1u));
    for (int32_t w = word / kGroupWords * kGroupWords; w < word; ++w) rank += count_bits(bits[w]);
    return rank;
  };

  block.each(groups * kGroupWords, [&](int32_t w) { bits[w] = 0; });
  block.each(edits.num_bias, [&](int32_t i) { mark(edits.bias[i].token); });
  block.each(edits.num_after, [&](int32_t i) {
    if (edits.after[i].previous == previous) mark(edits.after[i].token);
  });
  block.each(num_prompt, [&](int32_t i) { mark(edits.prompt[i]); });
  block.each(num_output, [&](int32_t i) { mark(output(i)); });
  const auto bits_in_group = [&](int32_t g) {
    int32_t count = 0;
    for (int32_t w = g * kGroupWords; w < (g + 1) * kGroupWords; ++w) count += count_bits(bits[w]);
    return count;
  };
  const int32_t edited = block.prefix_sums(groups, bits_in_group, ranks);
  block.each(groups, [&](int32_t g) { edits.ranks[g] = ranks[g]; });
  block.each(groups * kGroupWords, [&](int32_t w) { edits.bits[w] = bits[w]; });

  block.each(edited, [&](int32_t r) { edits.counts[r] = 0; });
  block.each(groups * kGroupWords, [&](int32_t w) {
    for (uint32_t left = bits[w]; left != 0; left &= left - 1) {
      const int32_t token = w * 32 + lowest_bit(left);
      edits.values[rank_of(token)] = finite_logit(logits[token]);
    }
  });
  block.each(edits.num_bias, [&](int32_t i) {
    const int32_t token = edits.bias[i].token;
    if (i > 0 && edits.bias[i - 1].token == token) return;  // the first entry of a token sees to all of them
    float& value = edits.values[rank_of(token)];
    for (int32_t j = i; j < edits.num_bias && edits.bias[j].token == token; ++j) {
      value = bounded(value + edits.bias[j].bias);
    }
  });
  block.each(edits.num_after, [&](int32_t i) {  // no two of them for one token
    if (edits.after[i].previous != previous) return;
    float& value = edits.values[rank_of(edits.after[i].token)];
    value = bounded(value + edits.after[i].bias);
  });
  block.each(num_prompt, [&](int32_t i) { block.bit_or(&edits.counts[rank_of(edits.prompt[i])], kSeen); });
  block.each(num_output, [&](int32_t i) {
    uint32_t* count = &edits.counts[rank_of(output(i))];
    block.bit_or(count, kSeen);
    block.add(count, 1u);
  });
  block.each(edited, [&](int32_t r) {
    const uint32_t count = edits.counts[r];
    if ((count & kSeen) == 0) return;
    edits.values[r] = penalised(edits.values[r], edits, static_cast<int32_t>(count & ~kSeen));
  });
}

}  // namespace qwend::cuda
