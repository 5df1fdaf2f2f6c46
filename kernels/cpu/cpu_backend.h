// The CPU backend: kernels/backend.h by the kernels of this folder. This class only dispatches.
#pragma once
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/sampler.h"
#include "kernels/cpu/step_part.h"
#include "kernels/cpu/thread_pool.h"

namespace qwend::cpu {

// Synchronous: every call has done its work when it returns; but a step that is split does it all in
// logits(). Sums run in an order fixed by the shapes of the model, so a token's results are the same bits
// whatever else is in the step, on any number of threads.
//
// Split: where many sequences go through a small model each thread takes some of them through all layers, so
// that threads wait for each other once a step instead of ten times a layer.
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
  // One thread's share of a step that is split.
  struct Lane {
    explicit Lane(int32_t max_tokens) : part(pool, max_tokens) {}
    ThreadPool pool{1};
    StepPart part;
  };
  bool split();
  template <class Op>
  void compute(Op op);  // op(part), now or in logits()
  // item(worker, i) for 0 .. count - 1 on the workers as they come; throws what an item has thrown.
  template <class Item>
  void run_items(size_t count, Item item);

  const int32_t max_tokens_, max_logit_rows_;
  const CpuProducts products_;
  ThreadPool pool_;
  StepInput input_;
  StepPart whole_;                                   // the step, where it isn't split
  std::vector<std::unique_ptr<Lane>> lanes_;         // one a worker, from the first step that is split
  bool split_ = false;                               // this step
  std::vector<std::function<void(StepPart&)>> ops_;  // of a step that is split, until logits()
  size_t weight_bytes_ = 0;
  FloatBuffer logits_;  // [L, V]
  int64_t vocab_ = 0;
  std::vector<std::unique_ptr<Sampler>> samplers_;  // one a worker
  std::vector<SampledToken> sampled_;               // by launch_sample(), until collect()
};

}  // namespace qwend::cpu
