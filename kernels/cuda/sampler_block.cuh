// The thread block that build_edits() and RowSampler are written against. All threads call each function with
// the same arguments; each ends with a barrier, so what one call writes the next may read, and results are
// the same in all threads. Sums are of integers: no order of threads shows in them.
#pragma once
#include "kernels/cuda/sampler_select.h"

namespace qwend::cuda {

template <int32_t kThreads>
class DeviceBlock {
 public:
  static constexpr int32_t kWarps = kThreads / 32;
  struct Shared {
    uint64_t of_warp[kWarps];
    Crossing crossing;
  };
  __device__ explicit DeviceBlock(Shared& shared) : shared_(shared) {}

  // f(i) for i in [0, n), in no order
  template <class F>
  __device__ __forceinline__ void each(int32_t n, F f) {
    for (int32_t i = thread(); i < n; i += kThreads) f(i);
    __syncthreads();
  }

  // f(token, score) of the scores above -inf in the groups whose key is at least `least`, in no order.
  template <class F>
  __device__ __forceinline__ void each_score(const ScoreView& view, const uint32_t* keys, uint32_t least,
                                             F f) {
    visit_groups(view, keys, least,
                 [&](int32_t, int32_t first, const FourScores& four) { each_of_four(first, four, f); });
    __syncthreads();
  }
  // The same in the `count` groups listed.
  template <class F>
  __device__ __forceinline__ void each_score_of(const ScoreView& view, const int32_t* listed, int32_t count,
                                                F f) {
    visit_logits<Code::Short>(
        view, count, [&](int32_t i) { return listed[i]; },
        [&](int32_t, int32_t first, const TokenWords& words, FourScores& four) {
          edit_four(view, first, words, four);
          each_of_four(first, four, f);
        });
    __syncthreads();
  }
  template <class F>
  __device__ __forceinline__ uint64_t sum_scores(const ScoreView& view, const uint32_t* keys, uint32_t least,
                                                 F f) {
    uint64_t sum = 0;
    visit_groups(view, keys, least,
                 [&](int32_t, int32_t first, const FourScores& four) { sum += sum_of(first, four, f); });
    return block_sum(sum);
  }
  template <class F>
  __device__ __forceinline__ uint32_t largest_score(const ScoreView& view, const uint32_t* keys,
                                                    uint32_t least, F f) {
    uint32_t best = 0;
    visit_groups(view, keys, least, [&](int32_t, int32_t first, const FourScores& four) {
      each_of_four(first, four, [&](int32_t token, float score) { best = max(best, f(token, score)); });
    });
    return block_max(best);
  }
  // sums[g] = sum of f over group g; 0 where its key is below `least`.
  template <class F>
  __device__ __forceinline__ void group_sums(const ScoreView& view, const uint32_t* keys, uint32_t least, F f,
                                             uint64_t* sums) {
    for (int32_t g = thread(); g < view.groups(); g += kThreads) {
      if (keys[g] < least) sums[g] = 0;
    }
    visit_groups(view, keys, least, [&](int32_t g, int32_t first, const FourScores& four) {
      const uint64_t sum = warp_sum(sum_of(first, four, f));
      if (lane() == 0) sums[g] = sum;
    });
    __syncthreads();
  }
  // keys[g] = the largest score_key of group g
  __device__ __forceinline__ void group_keys(const ScoreView& view, uint32_t* keys) {
    for (int32_t g = warp(); g < view.groups(); g += kWarps) {
      const uint32_t key = __reduce_max_sync(~0u, largest_key(scores_of_four(view, g * kGroup + lane() * 4)));
      if (lane() == 0) keys[g] = key;
    }
    __syncthreads();
  }

  template <class F>
  __device__ __forceinline__ uint32_t largest(int32_t n, F f) {
    uint32_t best = 0;
    for (int32_t i = thread(); i < n; i += kThreads) best = max(best, f(i));
    return block_max(best);
  }
  template <class F>
  __device__ __forceinline__ uint32_t smallest(int32_t n, F f) {
    return ~largest(n, [&](int32_t i) { return ~f(i); });
  }
  template <class F>
  __device__ __forceinline__ uint64_t sum(int32_t n, F f) {
    uint64_t sum = 0;
    for (int32_t i = thread(); i < n; i += kThreads) sum += f(i);
    return block_sum(sum);
  }

  // Of f over the entries of a list, none below 0. Four of a thread's are loaded together, whatever f does.
  template <class F>
  __device__ __forceinline__ uint64_t sum_entries(const int32_t* list, int32_t n, F f) {
    uint64_t sum = 0;
    for (int32_t base = thread(); base < n; base += 4 * kThreads) {
      int32_t entry[4];
#pragma unroll
      for (int32_t u = 0; u < 4; ++u) entry[u] = base + u * kThreads < n ? list[base + u * kThreads] : -1;
#pragma unroll 1
      for (int32_t u = 0; u < 4; ++u) {
        if (entry[0] >= 0) sum += f(entry[0]);
        entry[0] = entry[1], entry[1] = entry[2], entry[2] = entry[3];
      }
    }
    return block_sum(sum);
  }

  // The first i whose sum of amount(0) .. amount(i) exceeds the target; the last with an amount if none does.
  template <class F>
  __device__ __forceinline__ Crossing cross(int32_t n, F amount, uint64_t target) {
    const int32_t share = (n + kThreads - 1) / kThreads;
    const int32_t begin = min(thread() * share, n), end = min(begin + share, n);
    uint64_t own = 0;
    for (int32_t i = begin; i < end; ++i) own += amount(i);
    uint64_t total = 0;
    uint64_t before = sum_before(own, total);
    if (total > 0) {
      if (target > total - 1) target = total - 1;
      if (target >= before && target - before < own) {
        int32_t i = begin;
        uint64_t next = amount(i);
        while (before + next <= target) {
          before += next;
          next = amount(++i);
        }
        shared_.crossing = {i, before, next, total};
      }
    }
    __syncthreads();
    const Crossing at = total > 0 ? shared_.crossing : Crossing{};
    __syncthreads();
    return at;
  }
  // before[i] = amount(0) + .. + amount(i - 1). Returns the sum of all.
  template <class F>
  __device__ __forceinline__ int32_t prefix_sums(int32_t n, F amount, int32_t* before) {
    const int32_t share = (n + kThreads - 1) / kThreads;
    const int32_t begin = min(thread() * share, n), end = min(begin + share, n);
    uint64_t own = 0;
    for (int32_t i = begin; i < end; ++i) own += static_cast<uint64_t>(amount(i));
    uint64_t total = 0;
    auto running = static_cast<int32_t>(sum_before(own, total));
    for (int32_t i = begin; i < end; ++i) {
      before[i] = running;
      running += amount(i);
    }
    __syncthreads();
    return static_cast<int32_t>(total);
  }

  // Whether the code for the groups in flight is there once for each of them, or once for all.
  enum class Code : uint8_t { Long, Short };
  // f(group, the lane's first token, the words of its bitmaps, its logits), of the groups group_at(i), i in
  // [0, n), that are not below 0. A warp a group. No barrier.
  template <Code kCode, class At, class F>
  __device__ __forceinline__ static void visit_logits(const ScoreView& view, int32_t n, At group_at, F f) {
    for (int32_t base = warp(); base < n; base += kAhead * kWarps) {
      int32_t group[kAhead];
      FourScores four[kAhead];
      TokenWords words[kAhead];
#pragma unroll
      for (int32_t u = 0; u < kAhead; ++u) {
        const int32_t i = base + u * kWarps;
        group[u] = i < n ? group_at(i) : -1;
        if (group[u] < 0) continue;
        four[u] = load_four(view.logits, view.vocab, first_token(group[u]));
        words[u] = load_words(view, first_token(group[u]));
      }
      if constexpr (kCode == Code::Long) {
#pragma unroll
        for (int32_t u = 0; u < kAhead; ++u) {
          if (group[u] >= 0) f(group[u], first_token(group[u]), words[u], four[u]);
        }
      } else {
#pragma unroll 1
        for (int32_t u = 0; u < kAhead; ++u) {
          if (group[0] >= 0) f(group[0], first_token(group[0]), words[0], four[0]);
#pragma unroll
          for (int32_t v = 0; v + 1 < kAhead; ++v) {
            group[v] = group[v + 1], four[v] = four[v + 1], words[v] = words[v + 1];
          }
        }
      }
    }
  }

  // ---- inside f: threads may meet at one address

  __device__ __forceinline__ int32_t add(int32_t* to, int32_t value) { return atomicAdd(to, value); }
  __device__ __forceinline__ uint32_t add(uint32_t* to, uint32_t value) { return atomicAdd(to, value); }
  __device__ __forceinline__ void bit_or(uint32_t* to, uint32_t bits) { atomicOr(to, bits); }
  // Shared memory adds 32 bits natively, 64 bits only by compare and swap: carry by hand.
  __device__ __forceinline__ void add_wide(uint64_t* to, uint64_t value) {
    auto* halves = reinterpret_cast<uint32_t*>(to);
    const auto low = static_cast<uint32_t>(value);
    const uint32_t old = low != 0 ? atomicAdd(halves, low) : 0;
    const uint32_t high = static_cast<uint32_t>(value >> 32) + (old + low < old ? 1u : 0u);
    if (high != 0) atomicAdd(halves + 1, high);
  }

  // ---- between calls

  template <class T>
  __device__ __forceinline__ T read(const T* from) {
    const T value = *from;
    __syncthreads();
    return value;
  }

 private:
  static constexpr int32_t kAhead = 4;  // groups a warp has in flight: 32 KB a block of 512 threads

  __device__ static int32_t thread() { return static_cast<int32_t>(threadIdx.x); }
  __device__ static int32_t lane() { return thread() % 32; }
  __device__ static int32_t warp() { return thread() / 32; }

  template <class F>
  __device__ __forceinline__ static uint64_t sum_of(int32_t first, const FourScores& four, F& f) {
    uint64_t sum = 0;
    each_of_four(first, four, [&](int32_t token, float score) { sum += f(token, score); });
    return sum;
  }
  template <class F>
  __device__ __forceinline__ static void each_of_four(int32_t first, const FourScores& four, F f) {
#pragma unroll
    for (int32_t i = 0; i < 4; ++i) {
      if (four.x[i] > lowest_score()) f(first + i, four.x[i]);
    }
  }

  // f(group, the lane's first token, its scores) of the groups whose key is at least `least`.
  template <class F>
  __device__ __forceinline__ void visit_groups(const ScoreView& view, const uint32_t* keys, uint32_t least,
                                               F f) {
    visit_logits<Code::Short>(
        view, view.groups(), [&](int32_t g) { return keys[g] >= least ? g : -1; },
        [&](int32_t g, int32_t first, const TokenWords& words, FourScores& four) {
          edit_four(view, first, words, four);
          f(g, first, four);
        });
  }
  __device__ static int32_t first_token(int32_t g) { return g * kGroup + lane() * 4; }

  __device__ __forceinline__ static uint64_t warp_sum(uint64_t value) {
    auto sum = static_cast<unsigned long long>(value);
#pragma unroll
    for (int32_t step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    return sum;
  }
  __device__ __forceinline__ uint64_t block_sum(uint64_t value) {
    const uint64_t of_warp = warp_sum(value);
    if (lane() == 0) shared_.of_warp[warp()] = of_warp;
    __syncthreads();
    uint64_t total = 0;
    for (int32_t w = 0; w < kWarps; ++w) total += shared_.of_warp[w];
    __syncthreads();
    return total;
  }
  __device__ __forceinline__ uint32_t block_max(uint32_t value) {
    const uint32_t of_warp = __reduce_max_sync(~0u, value);
    if (lane() == 0) shared_.of_warp[warp()] = of_warp;
    __syncthreads();
    const auto of_lane = static_cast<uint32_t>(lane() < kWarps ? shared_.of_warp[lane()] : 0);
    __syncthreads();
    return __reduce_max_sync(~0u, of_lane);
  }
  // The sum of `own` over the threads before this one, and over all.
  __device__ __forceinline__ uint64_t sum_before(uint64_t own, uint64_t& total) {
    auto upto = static_cast<unsigned long long>(own);
#pragma unroll
    for (int32_t step = 1; step < 32; step *= 2) {
      const unsigned long long other = __shfl_up_sync(~0u, upto, static_cast<uint32_t>(step));
      if (lane() >= step) upto += other;
    }
    if (lane() == 31) shared_.of_warp[warp()] = upto;
    __syncthreads();
    uint64_t before = upto - own;
    total = 0;
    for (int32_t w = 0; w < kWarps; ++w) {
      if (w < warp()) before += shared_.of_warp[w];
      total += shared_.of_warp[w];
    }
    __syncthreads();
    return before;
  }

  Shared& shared_;
};

}  // namespace qwend::cuda
