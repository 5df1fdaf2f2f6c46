// One row of logits as the device sampler sees it: its settings, and its scores after bias, penalties, mask
// and bans, computed where they are read. Nothing here depends on CUDA's headers: the functions run on the
// device when nvcc compiles them and on the host otherwise (tests).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/sampling.h"

#ifdef __CUDACC__
#define QWEND_ROW_FN __device__ __forceinline__
#define QWEND_ROW_CALL __device__ __noinline__  // large and seldom taken, or taken from several places
#else
#define QWEND_ROW_FN inline
#define QWEND_ROW_CALL inline
#endif

namespace qwend::cuda {

// Tokens that a warp looks at together, 4 a lane. The largest score of each group is kept, so that later
// looks skip the groups that cannot matter.
inline constexpr int32_t kGroup = 128;
inline constexpr int32_t kGroupWords = kGroup / 32;  // of a bitmap, one bit a token

struct BiasEntry {
  int32_t token;
  float bias;
};

// Tokens whose scores differ from their logits. A bitmap says which, and a token's place among the set bits
// where its score is: ranks[group] set bits lie before its group. Built by build_edits() (sampler_edits.h).
struct RowEdits {
  uint32_t* bits = nullptr;                // [groups * kGroupWords]; null: no token is edited
  int32_t* ranks = nullptr;                // [groups]
  float* values = nullptr;                 // [edited tokens] their scores
  uint32_t* counts = nullptr;              // [edited tokens] scratch
  const ConditionalBias* after = nullptr;  // see SamplingRow::bias_after
  const BiasEntry* bias = nullptr;  // ascending tokens; equal ones next to each other, applied in order
  const int32_t* prompt = nullptr;
  const int32_t* output = nullptr;
  int32_t num_after = 0, num_bias = 0, num_prompt = 0, num_output = 0;
  int32_t previous_row = -1;  // its draw ends the output
  bool in_parts = false;      // built by each block that looks at the row, for its groups
  float repetition = 1.0f, presence = 0.0f, frequency = 0.0f;
};

// SamplingRow with its lists on the device.
struct DeviceRow {
  RowEdits edits;
  const uint32_t* allowed = nullptr;  // [groups * kGroupWords] or null: all
  const uint32_t* banned = nullptr;   // likewise or null: none
  const int32_t* logprob_tokens = nullptr;
  double uniform = 0.0;  // the row's random number
  float scale = 1.0f;    // 1 / temperature
  float top_p = 1.0f, min_p = 0.0f, typical_p = 1.0f;
  float xtc_threshold = -1.0f;  // below 0: not in this draw
  int32_t num_logprob_tokens = 0;
  int32_t top_k = 0;          // below the vocabulary; 0: off
  int32_t num_logprobs = -1;  // at most the vocabulary
  int32_t first_top = 0;      // where its largest logits go, and behind them those of logprob_tokens
  bool greedy = false;
  bool few = false;  // drawn from few candidates (sampler_few.h), without log-probabilities
  // Whether the sums of the groups' weights are wanted from the first look.
  QWEND_ROW_FN bool needs_sums() const { return !greedy && top_k == 0 && typical_p >= 1.0f; }
};

enum class DrawStatus : int32_t { Ok, NoFiniteLogit, EmptyMask };

// What a row's draw tells the host. logit: the chosen token's; log_sum: of the raw logits' exponentials.
struct DrawnRow {
  int32_t token = 0;
  DrawStatus status = DrawStatus::Ok;
  float logit = 0.0f, log_sum = 0.0f;
  int32_t num_top = 0;
};

// ---- numbers

QWEND_ROW_FN float lowest_score() { return -INFINITY; }
QWEND_ROW_FN float highest_score() { return 3.402823466e+38f; }
QWEND_ROW_FN float bounded(float x) { return x < highest_score() ? x : highest_score(); }
// As the CPU sampler: NaN counts as -inf, +inf as the largest float.
QWEND_ROW_FN float finite_logit(float x) { return x != x ? lowest_score() : bounded(x); }

QWEND_ROW_FN uint32_t float_bits(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
#endif
}
QWEND_ROW_FN float bits_float(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
#endif
}

// Integers in the order of the floats (no NaN). Both zeros have one key, so that they tie as floats do.
QWEND_ROW_FN uint32_t score_key(float x) {
  const uint32_t bits = float_bits(x == 0.0f ? 0.0f : x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
QWEND_ROW_FN float key_score(uint32_t key) {
  return bits_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}
inline constexpr uint32_t kNeverKey = 0x007fffffu;  // score_key(-inf)

// Weights, relative to the largest (1), as integers: sums are exact, hence equal in any order. 2^-44 of the
// largest weight is the least that can be drawn; vocabularies up to 2^19 keep sums below 2^63.
inline constexpr int32_t kFixedBits = 44;
inline constexpr int64_t kMaxVocab = int64_t{1} << 19;
inline constexpr double kFixedOne = static_cast<double>(uint64_t{1} << kFixedBits);
QWEND_ROW_FN uint64_t fixed(double weight) { return static_cast<uint64_t>(weight * kFixedOne); }
QWEND_ROW_FN double unfixed(uint64_t weight) { return static_cast<double>(weight) / kFixedOne; }
// The sum that holds `share` of `total`.
QWEND_ROW_FN uint64_t share_of(float share, uint64_t total) {
  const double wanted = ceil(static_cast<double>(share) * static_cast<double>(total));
  return wanted >= 1.0 ? static_cast<uint64_t>(wanted) : 1;
}

QWEND_ROW_FN int32_t count_bits(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __popc(word);
#else
  return __builtin_popcount(word);
#endif
}
QWEND_ROW_FN int32_t lowest_bit(uint32_t word) {  // of a word that is not 0
#ifdef __CUDA_ARCH__
  return __ffs(static_cast<int>(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}
QWEND_ROW_FN int32_t highest_bit(uint32_t word) {  // of a word that is not 0
#ifdef __CUDA_ARCH__
  return 31 - __clz(static_cast<int>(word));
#else
  return 31 - __builtin_clz(word);
#endif
}

// ---- scores

// Scores of one row: raw logits, or what bias, penalties, mask and bans make of them.
struct ScoreView {
  const float* logits = nullptr;  // [vocab]
  int32_t vocab = 0;
  const uint32_t* edit_bits = nullptr;
  const int32_t* edit_ranks = nullptr;
  const float* edit_values = nullptr;
  const uint32_t* allowed = nullptr;
  const uint32_t* banned = nullptr;
  QWEND_ROW_FN int32_t groups() const { return (vocab + kGroup - 1) / kGroup; }
};

QWEND_ROW_FN ScoreView raw_view(const float* logits, int32_t vocab) {
  ScoreView view;
  view.logits = logits;
  view.vocab = vocab;
  return view;
}
QWEND_ROW_FN ScoreView edited_view(const float* logits, int32_t vocab, const DeviceRow& row) {
  return {logits, vocab, row.edits.bits, row.edits.ranks, row.edits.values, row.allowed, row.banned};
}

struct FourScores {
  float x[4];
};

// Logits of tokens first .. first + 3 (first a multiple of 4); NaN past the vocabulary.
QWEND_ROW_FN FourScores load_four(const float* logits, int32_t vocab, int32_t first) {
  FourScores four;
#ifdef __CUDA_ARCH__
  if (vocab % 4 == 0 && (reinterpret_cast<uintptr_t>(logits) & 15) == 0) {
    float4 v = make_float4(NAN, NAN, NAN, NAN);
    if (first < vocab) v = *reinterpret_cast<const float4*>(logits + static_cast<uint32_t>(first));
    four.x[0] = v.x, four.x[1] = v.y, four.x[2] = v.z, four.x[3] = v.w;
    return four;
  }
#endif
  for (int32_t i = 0; i < 4; ++i) four.x[i] = first + i < vocab ? logits[first + i] : NAN;
  return four;
}

// The words of the bitmaps that the tokens first .. first + 3 lie in. Looked into where they are used, so
// that loading many does not wait for each.
struct TokenWords {
  uint32_t edited = 0, allowed = ~0u, banned = 0;
};
QWEND_ROW_FN TokenWords load_words(const ScoreView& view, int32_t first) {
  TokenWords words;
  const uint32_t word = static_cast<uint32_t>(first) / 32;
  if (view.edit_bits != nullptr) words.edited = view.edit_bits[word];
  if (view.allowed != nullptr) words.allowed = view.allowed[word];
  if (view.banned != nullptr) words.banned = view.banned[word];
  return words;
}

// The scores that loaded logits become; -inf for tokens that cannot be drawn and past the vocabulary.
QWEND_ROW_FN void edit_four(const ScoreView& view, int32_t first, const TokenWords& words, FourScores& four) {
  for (int32_t i = 0; i < 4; ++i) four.x[i] = finite_logit(four.x[i]);
  const int32_t word = first / 32, shift = first % 32;
  const uint32_t edited = words.edited >> shift & 15u;
  if (view.edit_bits != nullptr && edited != 0) {
    int32_t rank = view.edit_ranks[first / kGroup] + count_bits(words.edited & ((1u << shift) - 1u));
    for (int32_t w = word / kGroupWords * kGroupWords; w < word; ++w) rank += count_bits(view.edit_bits[w]);
    for (int32_t i = 0; i < 4; ++i) {
      if ((edited >> i & 1u) != 0) four.x[i] = view.edit_values[rank++];
    }
  }
  const uint32_t drawable = (words.allowed & ~words.banned) >> shift;
  for (int32_t i = 0; i < 4; ++i) {
    if ((drawable >> i & 1u) == 0) four.x[i] = lowest_score();
  }
}

// Of scores, not of logits.
QWEND_ROW_FN uint32_t largest_key(const FourScores& four) {
  const float low = four.x[0] > four.x[1] ? four.x[0] : four.x[1];
  const float high = four.x[2] > four.x[3] ? four.x[2] : four.x[3];
  return score_key(low > high ? low : high);
}

QWEND_ROW_FN FourScores scores_of_four(const ScoreView& view, int32_t first) {
  FourScores four = load_four(view.logits, view.vocab, first);
  edit_four(view, first, load_words(view, first), four);
  return four;
}

QWEND_ROW_FN float score_of(const ScoreView& view, int32_t token) {
  const FourScores four = scores_of_four(view, token & ~3);
  return (token & 2) != 0 ? ((token & 1) != 0 ? four.x[3] : four.x[2])
                          : ((token & 1) != 0 ? four.x[1] : four.x[0]);
}

}  // namespace qwend::cuda
