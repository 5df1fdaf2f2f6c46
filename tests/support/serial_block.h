// The thread block that the device sampler's algorithms are written against (kernels/cuda/sampler_block.cuh),
// as one thread on the host: their logic can be tested without a GPU.
#pragma once
#include <algorithm>

#include "kernels/cuda/sampler_select.h"

namespace qwend::test {

class SerialBlock {
 public:
  template <class F>
  void each(int32_t n, F f) {
    for (int32_t i = 0; i < n; ++i) f(i);
  }
  template <class F>
  void each_score(const cuda::ScoreView& view, const uint32_t* keys, uint32_t least, F f) {
    for (int32_t token = 0; token < view.vocab; ++token) {
      if (keys[token / cuda::kGroup] < least) continue;
      const float score = cuda::score_of(view, token);
      if (score > cuda::lowest_score()) f(token, score);
    }
  }
  template <class F>
  void each_score_of(const cuda::ScoreView& view, const int32_t* listed, int32_t count, F f) {
    for (int32_t i = count; i-- > 0;) {  // in no order
      for (int32_t token = listed[i] * cuda::kGroup;
           token < std::min((listed[i] + 1) * cuda::kGroup, view.vocab); ++token) {
        const float score = cuda::score_of(view, token);
        if (score > cuda::lowest_score()) f(token, score);
      }
    }
  }
  template <class F>
  uint64_t sum_scores(const cuda::ScoreView& view, const uint32_t* keys, uint32_t least, F f) {
    uint64_t sum = 0;
    each_score(view, keys, least, [&](int32_t token, float score) { sum += f(token, score); });
    return sum;
  }
  template <class F>
  uint32_t largest_score(const cuda::ScoreView& view, const uint32_t* keys, uint32_t least, F f) {
    uint32_t best = 0;
    each_score(view, keys, least,
               [&](int32_t token, float score) { best = std::max<uint32_t>(best, f(token, score)); });
    return best;
  }
  template <class F>
  void group_sums(const cuda::ScoreView& view, const uint32_t* keys, uint32_t least, F f, uint64_t* sums) {
    std::fill(sums, sums + view.groups(), 0);
    each_score(view, keys, least,
               [&](int32_t token, float score) { sums[token / cuda::kGroup] += f(token, score); });
  }
  void group_keys(const cuda::ScoreView& view, uint32_t* keys) {
    std::fill(keys, keys + view.groups(), cuda::kNeverKey);
    for (int32_t token = 0; token < view.vocab; ++token) {
      uint32_t& key = keys[token / cuda::kGroup];
      key = std::max(key, cuda::score_key(cuda::score_of(view, token)));
    }
  }
  template <class F>
  uint32_t largest(int32_t n, F f) {
    uint32_t best = 0;
    for (int32_t i = 0; i < n; ++i) best = std::max<uint32_t>(best, f(i));
    return best;
  }
  template <class F>
  uint32_t smallest(int32_t n, F f) {
    uint32_t best = UINT32_MAX;
    for (int32_t i = 0; i < n; ++i) best = std::min<uint32_t>(best, f(i));
    return best;
  }
  template <class F>
  uint64_t sum(int32_t n, F f) {
    uint64_t total = 0;
    for (int32_t i = 0; i < n; ++i) total += f(i);
    return total;
  }
  template <class F>
  uint64_t sum_entries(const int32_t* list, int32_t n, F f) {
    return sum(n, [&](int32_t i) { return f(list[i]); });
  }
  template <class F>
  cuda::Crossing cross(int32_t n, F amount, uint64_t target) {
    cuda::Crossing at;
    at.total = sum(n, amount);
    if (at.total == 0) return at;
    target = std::min(target, at.total - 1);
    for (at.index = 0; at.before + amount(at.index) <= target; ++at.index) at.before += amount(at.index);
    at.amount = amount(at.index);
    return at;
  }
  template <class F>
  int32_t prefix_sums(int32_t n, F amount, int32_t* before) {
    int32_t total = 0;
    for (int32_t i = 0; i < n; ++i) {
      before[i] = total;
      total += amount(i);
    }
    return total;
  }
  template <class T>
  T add(T* to, T value) {
    const T old = *to;
    *to += value;
    return old;
  }
  void add_wide(uint64_t* to, uint64_t value) { *to += value; }
  void bit_or(uint32_t* to, uint32_t bits) { *to |= bits; }
  template <class T>
  T read(const T* from) {
    return *from;
  }
};

}  // namespace qwend::test
