// The body of attend(), written once over the lanes of simd.h (S) and the cache's element type (E).
#pragma once
#include "kernels/cpu/attention.h"
#include "kernels/cpu/simd.h"

namespace qwend::cpu {

template <class S, class E>
class AttentionKernel {
  using V = typename S::V;
  static constexpr int kLanes = simd::kLanes;
  static constexpr int kVectors = kAttentionKeys / kLanes;  // key tiles an online-softmax step
  // The longest task whose successor's keys are fetched meanwhile: both are to fit in the second-level cache.
  static constexpr int32_t kKeysAhead = 1024;

 public:
  QWEND_INLINE void run(const AttentionTask& task, float* scratch) { AttentionKernel(task, scratch).run(); }

 private:
  AttentionKernel(const AttentionTask& task, float* scratch)
      : task_(task),
        rows_(task.row_end - task.row_begin),
        head_dim_(task.kv.head_dim),
        width_(task.kv.value_stride) {
    q_ = scratch;
    acc_ = q_ + kAttentionRows * width_;
    weights_ = acc_ + kAttentionRows * width_;
    sums_ = weights_ + kAttentionRows * kAttentionKeys;
    maxima_ = sums_ + kAttentionRows * kLanes;
    rescale_ = maxima_ + kAttentionRows;
  }

  void run() {
    load_queries();
    const int32_t keys = num_keys(task_);
    for (int32_t begin = 0; begin < keys; begin += kAttentionKeys) {
      const int32_t count = keys - begin < kAttentionKeys ? keys - begin : kAttentionKeys;
      tiles_ = locate(task_, begin, count);
      locate_next(begin, keys);
      // Positions never fall from row to row: the rows that see nothing of this tile come first.
      int32_t first = 0;
      while (position(first) < begin) ++first;
      score(first, count);
      for (int32_t r = first; r < rows_; ++r) softmax_step(r, position(r) + 1 - begin);
      accumulate(first, count);
    }
    store_outputs();
  }

  int32_t position(int32_t r) const { return task_.first_position + (task_.row_begin + r) / task_.group; }
  int64_t offset(int32_t r) const {  // of row r in q and out
    const int32_t row = task_.row_begin + r;
    return (row / task_.group) * task_.token_stride + static_cast<int64_t>(row % task_.group) * head_dim_;
  }

  void load_queries() {
    const V scale = S::set1(task_.scale), zero = S::set1(0.0f);
    for (int32_t r = 0; r < rows_; ++r) {
      const float* q = task_.q + offset(r);
      for (int32_t d = 0; d < width_; d += kLanes) {
        const int32_t left = head_dim_ - d;
        S::store(q_ + r * width_ + d,
                 S::mul(left >= kLanes ? S::load(q + d) : S::load_first(q + d, left), scale));
        S::store(acc_ + r * width_ + d, zero);
      }
      S::store(sums_ + r * kLanes, zero);
      maxima_[r] = -__builtin_inff();
    }
  }

  // Where the key tiles and value rows of an online-softmax step are.
  struct Tiles {
    const E *keys[kVectors], *values[kVectors];
  };
  // Of keys [begin, begin + count) of a task.
  static Tiles locate(const AttentionTask& task, int32_t begin, int32_t count) {
    const KvHeadView& kv = task.kv;
    Tiles tiles;
    for (int32_t v = 0; v < kVectors; ++v) {
      // Past the end the first tile stands in: its scores are masked away.
      const int32_t key = v * kLanes < count ? begin + v * kLanes : begin;
      const int64_t block = task.block_table[key / kv.block_size];
      const int64_t in_block = key % kv.block_size;
      tiles.keys[v] =
          reinterpret_cast<const E*>(kv.keys) + block * kv.key_block_stride + in_block * kv.head_dim;
      tiles.values[v] =
          reinterpret_cast<const E*>(kv.values) + block * kv.value_block_stride + in_block * kv.value_stride;
    }
    return tiles;
  }

  // Finds the keys to fetch during this step: the same ones of the next task, or this task's own next ones.
  // A block is too short for the hardware prefetchers to be of use, and with many short sequences every block
  // comes from beyond the second-level cache. So the first rows to read a tile ask for the same place of the
  // tile to come, a line or two for each dozen multiply-adds. Asked for all at once before each task they
  // took 8% more of a step of 64 streams.
  void locate_next(int32_t begin, int32_t keys) {
    const bool next_task = task_.next != nullptr && keys <= kKeysAhead;
    const AttentionTask& task = next_task ? *task_.next : task_;
    const int32_t from = next_task ? begin : begin + kAttentionKeys, left = num_keys(task) - from;
    next_tiles_ = left <= 0 ? tiles_ : locate(task, from, left < kAttentionKeys ? left : kAttentionKeys);
  }
  static int32_t num_keys(const AttentionTask& task) {
    return task.first_position + (task.row_end - 1) / task.group + 1;
  }
  // Elements [offset, offset + count) behind `from`; those that begin a cache line, given that `from` does.
  QWEND_INLINE void prefetch(const E* from, int32_t offset, int32_t count) {
    constexpr int32_t kLine = 64 / sizeof(E);
    for (int32_t i = 0; i < count; i += kLine < count ? kLine : count) {
      if ((offset + i) % kLine == 0) __builtin_prefetch(from + offset + i, 0, 3);
    }
  }

  // weights_[r][key] = q[r] . k[key], summed over the dimensions in order.
  void score(int32_t first, int32_t count) {
    const int32_t vectors = (count + kLanes - 1) / kLanes;
    int32_t v = 0;
    for (; v + S::kTileVectors <= vectors; v += S::kTileVectors) score_rows<S::kTileVectors>(first, v);
    // The rest at once too: with few rows one vector at a time would wait for its sums.
    const int32_t left = vectors - v;
    if constexpr (S::kTileVectors == 4) {
      if (left == 3) return score_rows<3>(first, v);
      if (left == 2) return score_rows<2>(first, v);
    }
    if (left > 0) score_rows<1>(first, v);
  }

  template <int C>
  void score_rows(int32_t first, int32_t v) {
    for (int32_t r = first; r < rows_;) {
      r += with_rows(rows_ - r, [&](auto n) {
        if (r == first)
          score_tile<decltype(n)::value, C, true>(r, v);
        else
          score_tile<decltype(n)::value, C, false>(r, v);
      });
    }
  }

  template <int R, int C, bool kPrefetch>
  void score_tile(int32_t r, int32_t v) {
    V s[R][C];
    for (int i = 0; i < R; ++i)
      for (int c = 0; c < C; ++c) s[i][c] = S::set1(0.0f);
    const float* q = q_ + r * width_;
    for (int32_t d = 0; d < head_dim_; ++d) {
      if constexpr (kPrefetch) {
        for (int c = 0; c < C; ++c) prefetch(next_tiles_.keys[v + c], d * kLanes, kLanes);
      }
      V k[C];
      for (int c = 0; c < C; ++c) k[c] = simd::load_as_float<S>(tiles_.keys[v + c] + d * kLanes);
      for (int i = 0; i < R; ++i) {
        const V x = S::set1(q[i * width_ + d]);
        for (int c = 0; c < C; ++c) s[i][c] = S::fma(x, k[c], s[i][c]);
      }
    }
    for (int i = 0; i < R; ++i)
      for (int c = 0; c < C; ++c) S::store(weights_ + (r + i) * kAttentionKeys + (v + c) * kLanes, s[i][c]);
  }

  // Scores of row r become weights relative to the row's running maximum; the first `visible` keys count.
  void softmax_step(int32_t r, int32_t visible) {
    float* weights = weights_ + r * kAttentionKeys;
    const V hidden = S::set1(-__builtin_inff());
    V s[kVectors];
    V top = hidden;
    for (int v = 0; v < kVectors; ++v) {
      s[v] = visible > v * kLanes ? S::first(S::load(weights + v * kLanes), hidden, visible - v * kLanes)
                                  : hidden;
      top = S::max(top, s[v]);
    }
    const float tile_max = S::largest(top);
    const float maximum = tile_max > maxima_[r] ? tile_max : maxima_[r];
    const V shift = S::set1(maximum);
    const V rescale = simd::exp<S>(S::sub(S::set1(maxima_[r]), shift));
    V sum = S::mul(S::load(sums_ + r * kLanes), rescale);
    for (int v = 0; v < kVectors; ++v) {
      const V weight = simd::exp<S>(S::sub(s[v], shift));
      S::store(weights + v * kLanes, weight);
      sum = S::add(sum, weight);
    }
    S::store(sums_ + r * kLanes, sum);
    float factor[kLanes];
    S::store(factor, rescale);
    rescale_[r] = factor[0];
    maxima_[r] = maximum;
  }

  // acc[r] = acc[r] * rescale[r] + sum over the tile's keys of weight * value, in key order.
  void accumulate(int32_t first, int32_t count) {
    constexpr int kWide = S::kTileVectors;
    int32_t d = 0;
    for (; d + kWide * kLanes <= width_; d += kWide * kLanes) accumulate_rows<kWide>(first, count, d);
    for (; d < width_; d += kLanes) accumulate_rows<1>(first, count, d);
  }

  template <int C>
  void accumulate_rows(int32_t first, int32_t count, int32_t d) {
    for (int32_t r = first; r < rows_;) {
      r += with_rows(rows_ - r, [&](auto n) {
        if (r == first)
          accumulate_tile<decltype(n)::value, C, true>(r, count, d);
        else
          accumulate_tile<decltype(n)::value, C, false>(r, count, d);
      });
    }
  }

  template <int R, int C, bool kPrefetch>
  void accumulate_tile(int32_t r, int32_t count, int32_t d) {
    V acc[R][C];
    float* rows = acc_ + r * width_ + d;
    for (int i = 0; i < R; ++i) {
      const V factor = S::set1(rescale_[r + i]);
      for (int c = 0; c < C; ++c) acc[i][c] = S::mul(S::load(rows + i * width_ + c * kLanes), factor);
    }
    const float* weights = weights_ + r * kAttentionKeys;
    for (int32_t v = 0; v * kLanes < count; ++v) {
      const E* value = tiles_.values[v] + d;
      const E* next_value = next_tiles_.values[v] + d;
      const int32_t in_tile = count - v * kLanes < kLanes ? count - v * kLanes : kLanes;
      for (int32_t key = 0; key < in_tile; ++key, value += width_, next_value += width_) {
        if constexpr (kPrefetch) prefetch(next_value, 0, C * kLanes);
        V x[C];
        for (int c = 0; c < C; ++c) x[c] = simd::load_as_float<S>(value + c * kLanes);
        for (int i = 0; i < R; ++i) {
          const V weight = S::set1(weights[i * kAttentionKeys + v * kLanes + key]);
          for (int c = 0; c < C; ++c) acc[i][c] = S::fma(weight, x[c], acc[i][c]);
        }
      }
    }
    for (int i = 0; i < R; ++i)
      for (int c = 0; c < C; ++c) S::store(rows + i * width_ + c * kLanes, acc[i][c]);
  }

  void store_outputs() {
    for (int32_t r = 0; r < rows_; ++r) {
      const V inverse = S::set1(1.0f / S::sum(S::load(sums_ + r * kLanes)));
      float* out = task_.out + offset(r);
      for (int32_t d = 0; d < head_dim_; d += kLanes) {
        const V value = S::mul(S::load(acc_ + r * width_ + d), inverse);
        if (head_dim_ - d >= kLanes)
          S::store(out + d, value);
        else
          S::store_first(out + d, value, head_dim_ - d);
      }
    }
  }

  template <int N>
  struct Count {
    static constexpr int value = N;
  };

  // Calls body with the number of rows to take next as a constant; splits evenly, so that 7 rows run as
  // 4 + 3 and not as 6 + 1. Returns that number.
  template <class F>
  QWEND_INLINE int32_t with_rows(int32_t left, F body) {
    const int32_t passes = (left + S::kTileRows - 1) / S::kTileRows;
    const int32_t rows = (left + passes - 1) / passes;
    switch (rows) {
      case 1: body(Count<1>{}); break;
      case 2: body(Count<2>{}); break;
      case 3: body(Count<3>{}); break;
      case 4: body(Count<4>{}); break;
      case 5: body(Count<5>{}); break;
      default: body(Count<6>{}); break;
    }
    return rows;
  }

  const AttentionTask& task_;
  const int32_t rows_, head_dim_, width_;
  float *q_, *acc_;           // [rows, width]
  float* weights_;            // [rows, kAttentionKeys]: scores, then softmax weights
  float* sums_;               // [rows, 16]: sums of weights, lane by lane
  float *maxima_, *rescale_;  // [rows]
  Tiles tiles_, next_tiles_;
};

template <class S>
QWEND_INLINE void attend_with(const AttentionTask& task, float* scratch) {
  if (task.kv.dtype == KvDType::F16)
    AttentionKernel<S, uint16_t>::run(task, scratch);
  else
    AttentionKernel<S, float>::run(task, scratch);
}

}  // namespace qwend::cpu
