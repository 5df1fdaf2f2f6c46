// The two kernels behind attention(), and what both are called with.
#pragma once
#include <type_traits>

#include "kernels/cuda/attention.h"

namespace qwend::cuda {

struct AttentionCall {
  DeviceStep step;
  KvLayer kv;
  const float* q;  // [T, H * hd]
  __half* out;     // [T, out_stride]
  int64_t out_stride;
  int32_t num_heads;
  int32_t group;      // query heads of a KV head
  float query_scale;  // log2(e) / sqrt(hd)
};

// Of the sequences first_seq .. first_seq + num_seqs, those with one token in the step.
void attention_decode(const AttentionCall& call, int32_t first_seq, int32_t num_seqs,
                      const AttentionWorkspace& workspace, cudaStream_t stream);
// Sequences with several.
void attention_prefill(const AttentionCall& call, cudaStream_t stream);

// Multiprocessors of the current device.
int32_t multiprocessor_count();
// Lets a kernel use this much dynamic shared memory; returns how many of its blocks a multiprocessor holds.
int32_t resident_blocks(const void* kernel, int32_t threads, int32_t shared_bytes);

// Calls f with the head width as a constant. Callers have a KvLayer, and so one of these widths.
template <class F>
void with_head_dim(int32_t head_dim, const F& f) {
  switch (head_dim) {
    case 64: return f(std::integral_constant<int, 64>{});
    case 128: return f(std::integral_constant<int, 128>{});
    default: return f(std::integral_constant<int, 256>{});
  }
}

}  // namespace qwend::cuda
