// Attention over the paged cache, and what prepares its inputs.
#pragma once
#include <cuda_fp16.h>

#include "kernels/backend.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/step.h"

namespace qwend::cuda {

// How a decoding sequence's context is split among blocks of threads. Enough splits to fill the device, few
// enough that beginning and joining them stays cheap.
struct SplitPlan {
  static constexpr int32_t kMinKeys = 128;   // of a split
  static constexpr int32_t kMaxSplits = 64;  // of a sequence
  static constexpr int32_t kKeyMultiple = 64;
  static constexpr int32_t kMostKeys = 2048;  // where one split would do: a long context among short ones
  int32_t max_splits = kMaxSplits;
  int32_t wanted = max_splits;  // as long as no split has more than kMostKeys

  // By the context's length and the model's shape alone, so that a token's sums have the same order alone and
  // in a batch: one sequence fills the device (each KV head is a block of its own).
  static SplitPlan of(int32_t num_kv_heads) {
    const int32_t splits = 128 / num_kv_heads;
    return {splits < 8 ? 8 : splits > kMaxSplits ? kMaxSplits : splits};
  }
  // For a step of many sequences, which fill the device with fewer splits each. A split that is not alone
  // costs some 8 us: 256 sequences of 1,024 keys, 2 KV heads of 64, take 93 us in splits of 128 and 55 us in
  // one each; 64 sequences 29 and 17.
  static SplitPlan of_batch(int32_t num_kv_heads, int32_t num_seqs, int32_t multiprocessors) {
    SplitPlan plan = of(num_kv_heads);
    const int32_t splits = multiprocessors / (num_seqs * num_kv_heads);
    plan.wanted = splits < 1 ? 1 : splits < plan.max_splits ? splits : plan.max_splits;
    return plan;
  }
  // Keys of each split but the last; context > 0.
  __host__ __device__ int32_t keys(int32_t context) const {
    const auto even = [&](int32_t splits) {
      return ((context + splits - 1) / splits + kKeyMultiple - 1) / kKeyMultiple * kKeyMultiple;
    };
    const int32_t least = even(max_splits), best = even(wanted) < kMostKeys ? even(wanted) : kMostKeys;
    const int32_t keys = best > least ? best : least;
    return keys < kMinKeys ? kMinKeys : keys;
  }
  __host__ __device__ int32_t splits(int32_t context) const {
    return (context + keys(context) - 1) / keys(context);
  }
};

// Scratch of the decode kernel: what the splits of a sequence leave for the one that arrives last. A launch
// leaves it as it was found, so one workspace serves all layers of a stream.
class AttentionWorkspace {
 public:
  static constexpr int32_t kMaxSeqs = 256;  // of a launch; a step with more sequences takes several

  // max_tokens: of a step, and so its sequences at most. Does nothing where there is room already; else
  // memory is taken: start-up only.
  void reserve(int32_t max_tokens, const AttentionShape& shape);
  int32_t max_seqs(const AttentionShape& shape) const;  // that there is room for
  size_t bytes() const { return partial_.bytes() + partial_sums_.bytes() + arrivals_.bytes(); }

  float* partial() const { return partial_.data(); }             // [S, H, max_splits, hd] not normalised
  float2* partial_sums() const { return partial_sums_.data(); }  // [S, H, max_splits] (maximum, sum)
  uint32_t* arrivals() const { return arrivals_.data(); }        // [S, H] 0 between launches

 private:
  DeviceBuffer<float> partial_;
  DeviceBuffer<float2> partial_sums_;
  DeviceBuffer<uint32_t> arrivals_;
};

// cos and sin of every position's angles times the table's magnitude: [max_position, rotary_dim / 2]. Angles
// are computed in double and rounded once. Start-up only; waits for the device.
DeviceBuffer<float2> make_rope_table_on_device(const RopeTable& table, int32_t max_position);

// For each token: [q|k|v] scaled, += bias; q and k RMS-normalised per head where norms are given (FP32); q
// and k rotated by the angles of the token's position (pairs (i, i + rotary_dim / 2)); k and v written to the
// cache at slot_mapping (saturated to what the cache's halves hold; slot -1: not written); q as FP32 to q_out
// [T, H * hd].
struct QkvFinish {
  const float* qkv;                // [T, (H + 2K) * hd], rows aligned to 16 bytes
  const float* qkv_low = nullptr;  // what is to be added to them, alike, or nullptr
  const float* scale;              // [T], what rows of qkv are still to be multiplied by, or nullptr
  const float* bias;               // [(H + 2K) * hd] or nullptr
  const float* q_norm;             // [hd] or nullptr
  const float* k_norm;             // [hd] or nullptr
  float norm_eps;
  const float2* rope;  // [max_position, rotary_dim / 2] (cos, sin) times the table's magnitude
  int32_t rotary_dim;  // even, <= hd; 0: nothing is rotated
  AttentionShape shape;
};
void finish_qkv(const QkvFinish& op, const DeviceStep& step, const KvLayer& kv, float* q_out,
                cudaStream_t stream);

// As the cache keeps its values, so come the results: an FP16 cache's to `halves` (a convex combination of
// FP16 values: can't overflow), an FP32 cache's to `values`.
struct AttentionOut {
  __half* halves;         // [T, halves_stride], 16-byte aligned
  int64_t halves_stride;  // a multiple of 8
  float* values;          // [T, H * hd]
};

// out[t] = softmax(q k^T / sqrt(hd)) v over positions 0 .. positions[t] of its sequence. q: [T, H * hd] FP32
// as finish_qkv wrote it (not scaled). Rows of padding tokens are left as they are. Nothing in the cache
// beyond a sequence's context matters, NaN included.
//
// FP16 cache: queries count with 22 bits, keys as they are, weights and results are rounded to FP16. FP32
// cache: every factor is two halves; three products of halves stand for each, all but the lows', in FP32
// sums.
//
// Sequences with one token in the step go to the decode kernel, others to the prefill kernel, in whatever
// company they are. Order of all sums: decode, by the context's length, in steps of more than kFewRows rows
// also by the number of sequences (SplitPlan); prefill, by the token's position.
void attention(const AttentionShape& shape, const DeviceStep& step, const KvLayer& kv, const float* q,
               AttentionWorkspace& workspace, const AttentionOut& out, cudaStream_t stream);

}  // namespace qwend::cuda
