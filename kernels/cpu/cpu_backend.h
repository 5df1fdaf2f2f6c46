// The CPU backend: kernels/backend.h by the kernels of this folder. This class only dispatches.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/moe.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/sampler.h"
#include "kernels/cpu/thread_pool.h"

namespace qwend::cpu {

struct CpuMatrix : DeviceMatrix {
  explicit CpuMatrix(PackedMatrix m) : packed(std::move(m)) {}
  int64_t rows() const override { return packed.rows(); }
  int64_t cols() const override { return packed.cols(); }
  int64_t experts() const override { return packed.experts(); }
  size_t bytes() const override { return packed.bytes(); }
  PackedMatrix packed;
};

struct CpuVector : DeviceVector {
  explicit CpuVector(std::span<const float> v) : values(v.begin(), v.end()) {}
  int64_t size() const override { return static_cast<int64_t>(values.size()); }
  std::vector<float> values;
};

struct CpuActivation : DeviceActivation {
  CpuActivation(int64_t max_tokens, int64_t row_width) : buffer(max_tokens * row_width), width_(row_width) {}
  int64_t width() const override { return width_; }
  float* row(int64_t t) { return buffer.data() + t * width_; }
  const float* row(int64_t t) const { return buffer.data() + t * width_; }
  FloatBuffer buffer;

 private:
  int64_t width_;
};

// Synchronous: every call has done its work when it returns. Sums run in an order fixed by the shapes of the
// model, so a token's results are the same bits whatever else is in the step, on any number of threads.
class CpuBackend final : public Backend {
 public:
  CpuBackend(int32_t max_tokens, int32_t max_logit_rows, int32_t threads, CpuProducts products);
  std::string device_name() const override;

  Matrix upload(std::span<const HostMatrix> parts) override;
  Matrix upload_embedding(const HostMatrix& table, bool also_output) override;
  Vector upload_vector(std::span<const float> values) override;
  Activation allocate(int64_t width) override;
  KvCachePtr allocate_kv(const KvCacheSpec& spec) override;

  bool copies_blocks() const override { return true; }
  void copy_blocks(DeviceKvCache& kv, std::span<const BlockCopy> copies) override;
  bool begin_step(const StepInput& input, uint64_t program) override;
  void embed(const DeviceMatrix& table, DeviceActivation& x) override;
  void attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                  DeviceActivation& q) override;
  void attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                 const DeviceKvCache& kv, DeviceActivation& out) override;
  void linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) override;
  void ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                   const DeviceActivation& x, DeviceActivation& h) override;
  void moe_ffn(const MoeFfn& op, DeviceActivation& x) override;
  void logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
              const DeviceActivation& x) override;
  void launch_sample(std::span<const SamplingRow> rows) override;
  std::vector<SampledToken> collect() override;

  std::vector<float> read_logits(int32_t row) override;
  std::vector<float> read(const DeviceActivation& a, int32_t token) override;
  void write(DeviceActivation& a, int32_t token, std::span<const float> row) override;
  std::vector<float> read(const DeviceVector& v) override;
  std::vector<float> read_rows(const DeviceMatrix& m, int64_t first, int64_t count) override;
  KvRow read_kv(const DeviceKvCache& kv, const KvPlace& at) override;
  void write_kv(DeviceKvCache& kv, const KvPlace& at, const KvRow& row) override;

 private:
  // normed_ [rows, D] = RMSNorm of the given rows of x (all of the step's, or those of `index`)
  InputRows normed_rows(const DeviceActivation& x, const DeviceVector& norm, float eps) const;
  void normalise(const DeviceVector& norm, float eps, const CpuActivation& x);
  void finish_qkv(const AttnInput& op, int32_t t, CpuKvCache& kv, float* q);
  void add_shared_expert(const MoeFfn& op, CpuActivation& x);
  int64_t tokens() const { return input_.num_tokens(); }

  const int32_t max_tokens_, max_logit_rows_;
  const CpuProducts products_;
  ThreadPool pool_;
  Matmul matmul_;
  StepInput input_;
  // Kept from step to step; grown in the first steps, to what max_tokens needs at most.
  RopeAngles angles_;
  const RopeTable* angles_of_ = nullptr;  // the table of angles_ in this step
  AttentionPlan plan_;
  FloatBuffer normed_, qkv_, router_, expert_;
  std::vector<ExpertChoice> choices_;
  ExpertBatches batches_;
  std::vector<float> shared_weight_;  // [T]
  FloatBuffer logits_;                // [L, V]
  int64_t vocab_ = 0;
  std::vector<std::unique_ptr<Sampler>> samplers_;  // one a worker
  std::vector<SampledToken> sampled_;               // by launch_sample(), until collect()
};

}  // namespace qwend::cpu
