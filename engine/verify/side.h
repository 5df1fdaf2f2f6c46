// One of the two backends that are compared, with the buffers to run a single op of a layer on given inputs.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "engine/model/layer_weights.h"
#include "engine/verify/batch.h"
#include "engine/verify/rows.h"
#include "kernels/backend.h"

namespace qwend::verify {

struct Projections {
  Rows q, k, v;  // [T, H * hd], [T, K * hd], [T, K * hd]; k and v as read back from the cache
};

// Keys and values of some slots, in their order.
struct KvRows {
  Rows keys, values;  // [slots, K * hd]
};

// Each op runs in a step of its own: inputs are written, the backend's real op runs, outputs are read. One
// thread. The backend must outlive the Side; it needs room for max_tokens tokens in a step.
class Side {
 public:
  // kv_layers: layers of the cache. The reference works on one layer at a time and has one.
  Side(Backend& backend, const ModelConfig& config, int32_t kv_layers, int32_t num_blocks, KvDType dtype);

  Backend& backend() { return backend_; }
  DeviceKvCache& kv() { return *kv_; }
  int32_t num_slots() const { return kv_->spec().num_blocks * kBlockSize; }

  // layer: of the cache, here and below.
  Projections attn_input(const Backend::AttnInput& op, Batch& batch, const Rows& x);
  Rows attention(int32_t layer, Batch& batch, const Rows& q);                                // [T, H * hd]
  Rows linear_residual(const DeviceMatrix& w, Batch& batch, const Rows& in, const Rows& x);  // new x
  Rows gate_up(const LayerWeights& weights, Batch& batch, const Rows& x);                    // [T, F]
  Rows moe_ffn(const Backend::MoeFfn& op, Batch& batch, const Rows& x);                      // new x
  // Final norm and a matrix for every token of the batch. [T, rows of w]
  Rows logits(const DeviceVector& norm, const DeviceMatrix& w, Batch& batch, const Rows& x);
  Rows embed(const DeviceMatrix& table, Batch& batch);
  // Norm and gate/up product of one matrix with D gate rows and D up rows. [T, D]
  Rows gated(const DeviceVector& norm, const DeviceMatrix& gate_up, Batch& batch, const Rows& x);
  // A whole layer without a look between its ops.
  Rows layer(const LayerWeights& weights, const RopeTable& rope, int32_t layer, Batch& batch, const Rows& x);

  KvRows read_kv(int32_t layer, std::span<const int32_t> slots);
  void write_kv(int32_t layer, std::span<const int32_t> slots, const KvRows& rows);
  // The same key and value in every slot of a layer that `keep` does not name.
  void fill_kv(int32_t layer, float key, float value, std::span<const int32_t> keep = {});

 private:
  template <class Work>
  void step(Batch& batch, std::span<const int32_t> logit_rows, const Work& work);
  Rows read(const DeviceActivation& a, int32_t count);
  void write(DeviceActivation& a, const Rows& rows);

  Backend& backend_;
  const ModelConfig& config_;
  KvCachePtr kv_;
  Activation x_, q_, attn_, h_, gated_;
};

}  // namespace qwend::verify
