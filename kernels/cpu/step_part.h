// The ops of kernels/backend.h for some sequences of a step, by one team of threads.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/moe.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/thread_pool.h"

namespace qwend::cpu {

// Reads and writes only its own tokens' rows of activations and logits, and their slots of the cache: parts
// of one step may be computed at the same time, each by one thread and with a pool of its own. Ops as in
// Backend, in its order.
class StepPart {
 public:
  // The pool must outlive it. max_tokens: the most that begin() is given.
  StepPart(ThreadPool& pool, int32_t max_tokens);

  // Sequences first .. last - 1 of a step, which must stay as it is until the part's ops are done.
  void begin(const StepInput& step, int32_t first, int32_t last);

  void embed(const DeviceMatrix& table, DeviceActivation& x);
  void attn_input(const Backend::AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                  DeviceActivation& q);
  void attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                 const DeviceKvCache& kv, DeviceActivation& out);
  void linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x);
  void ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                   const DeviceActivation& x, DeviceActivation& h);
  void moe_ffn(const Backend::MoeFfn& op, DeviceActivation& x);
  // logits: [L, V] of the whole step
  void logits(const DeviceVector& norm, float eps, const DeviceMatrix& output, const DeviceActivation& x,
              float* logits);

 private:
  // Of the part's token t.
  float* row(DeviceActivation& a, int64_t t) const;
  const float* row(const DeviceActivation& a, int64_t t) const;
  InputRows normed_rows(const DeviceActivation& x, const DeviceVector& norm, float eps) const;
  void normalise(const DeviceVector& norm, float eps, const DeviceActivation& x);
  void finish_qkv(const Backend::AttnInput& op, int32_t t, CpuKvCache& kv, float* q);
  void add_shared_expert(const Backend::MoeFfn& op, DeviceActivation& x);
  int64_t tokens() const { return input_.num_tokens(); }

  const int32_t max_tokens_;
  ThreadPool& pool_;
  Matmul matmul_;
  StepInput input_;  // of the part: counts from its first token
  int64_t first_token_ = 0, first_logit_row_ = 0;
  std::vector<int32_t> cu_seqlens_, logit_rows_;
  // Kept from step to step; grown in the first steps, to what max_tokens needs at most.
  RopeAngles angles_;
  const RopeTable* angles_of_ = nullptr;  // the table of angles_ in this step
  AttentionPlan plan_;
  FloatBuffer normed_, qkv_, router_, expert_;
  std::vector<ExpertChoice> choices_;
  ExpertBatches batches_;
  std::vector<float> shared_weight_;  // [T]
};

}  // namespace qwend::cpu
