#include "kernels/cuda/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/attention_kernels.h"

namespace qwend::cuda {

namespace {
size_t splits_of_seq(const AttentionShape& shape) {
  return static_cast<size_t>(shape.num_heads) *
         static_cast<size_t>(SplitPlan::of(shape.num_kv_heads).max_splits);
}
}  // namespace

void AttentionWorkspace::reserve(int32_t max_tokens, const AttentionShape& shape) {
  const auto seqs = static_cast<size_t>(std::min(max_tokens, kMaxSeqs));
  const size_t splits = seqs * splits_of_seq(shape), heads = seqs * static_cast<size_t>(shape.num_heads);
  const size_t elements = splits * static_cast<size_t>(shape.head_dim);
  if (partial_.size() < elements) partial_ = DeviceBuffer<float>(elements);
  if (partial_sums_.size() < splits) partial_sums_ = DeviceBuffer<float2>(splits);
  if (arrivals_.size() < heads) arrivals_ = DeviceBuffer<uint32_t>::zeroed(heads);
}

int32_t AttentionWorkspace::max_seqs(const AttentionShape& shape) const {
  const size_t splits = splits_of_seq(shape);
  const size_t seqs =
      std::min({partial_.size() / (splits * static_cast<size_t>(shape.head_dim)),
                partial_sums_.size() / splits, arrivals_.size() / static_cast<size_t>(shape.num_heads)});
  return static_cast<int32_t>(std::min(seqs, static_cast<size_t>(kMaxSeqs)));
}

void attention(const AttentionShape& shape, const DeviceStep& step, const KvLayer& kv, const float* q,
               AttentionWorkspace& workspace, const AttentionOut& out, cudaStream_t stream) {
  CHECK(shape.num_kv_heads == kv.num_kv_heads && shape.head_dim == kv.head_dim);
  CHECK(shape.num_heads % shape.num_kv_heads == 0);
  if (step.num_tokens <= 0 || step.num_seqs <= 0) return;
  const double scale = 1.4426950408889634 / std::sqrt(static_cast<double>(shape.head_dim));
  const AttentionCall call{
      step, kv, q, out, shape.num_heads, shape.num_heads / shape.num_kv_heads, static_cast<float>(scale)};
  // Either kernel would find out by itself that nothing is for it, in 3 us. Steps that are recorded are pure
  // decodes (step_graphs.h), so no graph stands for steps of both kinds.
  if (step.min_seq_tokens <= 1) {
    const int32_t seqs_at_once = workspace.max_seqs(shape);
    CHECK(seqs_at_once > 0);
    for (int32_t seq = 0; seq < step.num_seqs; seq += seqs_at_once)
      attention_decode(call, seq, std::min(seqs_at_once, step.num_seqs - seq), workspace, stream);
  }
  if (step.max_seq_tokens > 1) attention_prefill(call, stream);
}

}  // namespace qwend::cuda
