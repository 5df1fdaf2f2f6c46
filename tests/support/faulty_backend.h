// A backend with one fault planted in it, around any other backend.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace qwend::test {

enum class FaultKind : uint8_t {
  None,
  TransposedWeight,   // `tensor`, which must be square, reaches the device transposed
  FlippedByte,        // one byte of `tensor` has its highest bit flipped on the way
  TransposedProduct,  // the device holds `tensor` as it should, and multiplies by its transpose
  InterleavedRope,    // pairs (2i, 2i + 1)
  SlotOffByOne,       // keys and values go to the slot after the right one
  SwappedKvHeads,     // KV heads 0 and 1 change places in the cache
  SwappedKeyValue,
  MissingBias,
  NormEps,     // attention's norm: eps ten times as large
  FfnNormEps,  // the same of the feed-forward's norm, in every layer
  GqaModulo,   // query head h reads KV head h % K instead of h / (H / K)
  SeesNext,    // a token also attends to the one after it
  MissesSelf,  // a token does not attend to itself, but the first
  ScoreScale,  // scores are not divided by sqrt(head_dim)
  Overwrites,  // linear_residual stores instead of adding
  LoneStep,    // attention's input is a little off in steps of a single sequence
};

struct Fault {
  FaultKind kind = FaultKind::None;
  int32_t layer = 1;
  std::string tensor = {};
  bool decode_only = false;  // only in steps of one token a sequence
};

// Uses the inner backend's ops and inspection calls only. Never replays steps.
class FaultyBackend final : public Backend {
 public:
  FaultyBackend(std::unique_ptr<Backend> inner, Fault fault)
      : inner_(std::move(inner)), fault_(std::move(fault)) {}
  std::string device_name() const override { return inner_->device_name() + " with a fault"; }
  DeviceMemory memory() const override { return inner_->memory(); }

  Matrix upload(std::span<const HostMatrix> parts) override;
  Matrix upload_embedding(const HostMatrix& table, bool also_output) override {
    return inner_->upload_embedding(table, also_output);
  }
  Vector upload_vector(std::span<const float> values) override { return inner_->upload_vector(values); }
  Activation allocate(int64_t width) override { return inner_->allocate(width); }
  KvCachePtr allocate_kv(const KvCacheSpec& spec) override { return inner_->allocate_kv(spec); }
  void reserve(const StepShapes& shapes) override { inner_->reserve(shapes); }

  bool begin_step(const StepInput& input, uint64_t program) override;
  void embed(const DeviceMatrix& table, DeviceActivation& x) override { inner_->embed(table, x); }
  void attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                  DeviceActivation& q) override;
  void attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                 const DeviceKvCache& kv, DeviceActivation& out) override;
  void linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) override;
  void ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                   const DeviceActivation& x, DeviceActivation& h) override {
    inner_->ffn_gate_up(norm, fault_.kind == FaultKind::FfnNormEps ? 10 * eps : eps, gate_up, x, h);
  }
  void moe_ffn(const MoeFfn& op, DeviceActivation& x) override { inner_->moe_ffn(op, x); }
  void logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
              const DeviceActivation& x) override {
    inner_->logits(norm, eps, output, x);
  }
  void launch_sample(std::span<const SamplingRow> rows) override { inner_->launch_sample(rows); }
  std::vector<SampledToken> collect() override { return inner_->collect(); }
  int32_t max_in_flight() const override { return inner_->max_in_flight(); }

  std::vector<float> read_logits(int32_t row) override { return inner_->read_logits(row); }
  std::vector<float> read(const DeviceActivation& a, int32_t token) override {
    return inner_->read(a, token);
  }
  void write(DeviceActivation& a, int32_t token, std::span<const float> values) override {
    inner_->write(a, token, values);
  }
  std::vector<float> read(const DeviceVector& v) override { return inner_->read(v); }
  std::vector<float> read_rows(const DeviceMatrix& m, int64_t first, int64_t count) override {
    return inner_->read_rows(m, first, count);
  }
  KvRow read_kv(const DeviceKvCache& kv, const KvPlace& at) override { return inner_->read_kv(kv, at); }
  void write_kv(DeviceKvCache& kv, const KvPlace& at, const KvRow& row) override {
    inner_->write_kv(kv, at, row);
  }

 private:
  bool planted(FaultKind kind, int32_t layer) const {
    return fault_.kind == kind && fault_.layer == layer &&
           (!fault_.decode_only || input_.num_tokens() == input_.num_seqs());
  }
  void rotate_interleaved(const AttnInput& op, DeviceKvCache& kv, DeviceActivation& q);
  void host_attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                      const DeviceKvCache& kv, DeviceActivation& out);

  std::unique_ptr<Backend> inner_;
  const Fault fault_;
  StepInput input_;
  RopeTable unrotated_;
  const DeviceMatrix* marked_ = nullptr;  // what `tensor` became
  Matrix transposed_;
};

}  // namespace qwend::test
