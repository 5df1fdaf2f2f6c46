// Attention over the paged cache, and what prepares its inputs.
#pragma once
#include <cuda_fp16.h>

#include "kernels/backend.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/step.h"

namespace qwend::cuda {

// Scratch that attention needs at most; taken once.
class AttentionWorkspace {
 public:
  // max_tokens, max_seqs: of a step. Heads and head_dim are not known yet: sized by the first `reserve`,
  // which callers make at start-up (allocate_kv knows the shape).
  void reserve(int32_t max_tokens, int32_t num_heads, int32_t head_dim);
  size_t bytes() const { return partial_.bytes() + partial_lse_.bytes(); }

  DeviceBuffer<float> partial_;      // split-KV partial outputs
  DeviceBuffer<float> partial_lse_;  // and their log-sum-exp
};

// For each token: [q|k|v] += bias; q and k RMS-normalised per head where norms are given (FP32); q and k
// rotated by rope_cos/sin of the token's position (pairs (i, i + rotary_dim / 2)); k and v written to the
// cache at slot_mapping (FP16, saturated; slot -1: not written); q as FP32 to q_out [T, H * hd].
struct QkvFinish {
  const float* qkv;     // [T, (H + 2K) * hd]
  const float* bias;    // [(H + 2K) * hd] or nullptr
  const float* q_norm;  // [hd] or nullptr
  const float* k_norm;  // [hd] or nullptr
  float norm_eps;
  const float2* rope;  // [max_position, rotary_dim / 2] (cos, sin) times the table's magnitude
  int32_t rotary_dim;
  AttentionShape shape;
};
void finish_qkv(const QkvFinish& op, const DeviceStep& step, const KvLayer& kv, float* q_out,
                cudaStream_t stream);

// out[t] = softmax(q k^T / sqrt(hd)) v over positions 0 .. positions[t] of its sequence. q: [T, H * hd] FP32
// as finish_qkv wrote it (not scaled); out: [T, out_stride] FP16 (a convex combination of FP16 values: can't
// overflow). Padding tokens' rows are left as they are. Order of all sums is fixed by the context's length
// alone.
void attention(const AttentionShape& shape, const DeviceStep& step, const KvLayer& kv, const float* q,
               AttentionWorkspace& workspace, __half* out, int64_t out_stride, cudaStream_t stream);

}  // namespace qwend::cuda
