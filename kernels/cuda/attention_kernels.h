// The two kernels behind attention(), and what both are called with.
#pragma once
#include <type_traits>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/launch.h"

namespace qwend::cuda {

struct AttentionCall {
  DeviceStep step;
  KvLayer kv;
  const float* q;  // [T, H * hd]
  AttentionOut out;
  int32_t num_heads;
  int32_t group;      // query heads of a KV head
  float query_scale;  // log2(e) / sqrt(hd)
};

// Of the sequences first_seq .. first_seq + num_seqs, those with one token in the step.
void attention_decode(const AttentionCall& call, int32_t first_seq, int32_t num_seqs,
                      const AttentionWorkspace& workspace, cudaStream_t stream);
// Sequences with several.
void attention_prefill(const AttentionCall& call, cudaStream_t stream);
// The same by warpgroups, for FP16 caches of heads of 64 or 128 elements, on compute capability 9.0 alone.
void attention_prefill_hopper(const AttentionCall& call, cudaStream_t stream);

// Calls f with the head width and whether the cache is precise as constants.
template <class F>
void with_cache_format(const KvLayer& kv, const F& f) {
  const auto with_width = [&](auto precise) {
    switch (kv.head_dim) {
      case 64: return f(std::integral_constant<int, 64>{}, precise);
      case 128: return f(std::integral_constant<int, 128>{}, precise);
      default: return f(std::integral_constant<int, 256>{}, precise);  // kv_cache.h: no other width
    }
  };
  if (kv.precise()) return with_width(std::true_type{});
  with_width(std::false_type{});
}

}  // namespace qwend::cuda
