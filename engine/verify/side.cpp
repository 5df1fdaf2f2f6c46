#include "engine/verify/side.h"

#include <algorithm>

#include "kernels/check.h"

namespace qwend::verify {

Side::Side(Backend& backend, const ModelConfig& config, int32_t kv_layers, int32_t num_blocks, KvDType dtype)
    : backend_(backend), config_(config) {
  kv_ = backend.allocate_kv({kv_layers, num_blocks, kBlockSize, config.num_kv_heads, config.head_dim, dtype});
  const int64_t query_width = int64_t{config.num_heads} * config.head_dim;
  x_ = backend.allocate(config.embedding);
  q_ = backend.allocate(query_width);
  attn_ = backend.allocate(query_width);
  if (!config.arch->moe) h_ = backend.allocate(config.ffn);
  gated_ = backend.allocate(config.embedding);
}

template <class Work>
void Side::step(Batch& batch, std::span<const int32_t> logit_rows, const Work& work) {
  CHECK(!backend_.begin_step(batch.input(logit_rows)));
  work();
  backend_.sample({});
}

Rows Side::read(const DeviceActivation& a, int32_t count) {
  Rows rows{a.width(), {}};
  rows.values.reserve(static_cast<size_t>(count * a.width()));
  for (int32_t t = 0; t < count; ++t) {
    const std::vector<float> row = backend_.read(a, t);
    rows.values.insert(rows.values.end(), row.begin(), row.end());
  }
  return rows;
}

void Side::write(DeviceActivation& a, const Rows& rows) {
  for (int32_t t = 0; t < rows.count(); ++t) backend_.write(a, t, rows.row(t));
}

Projections Side::attn_input(const Backend::AttnInput& op, Batch& batch, const Rows& x) {
  Projections result;
  step(batch, {}, [&] {
    write(*x_, x);
    backend_.attn_input(op, *x_, *kv_, *q_);
    result.q = read(*q_, batch.num_tokens());
  });
  KvRows rows = read_kv(op.layer, batch.slots());
  result.k = std::move(rows.keys);
  result.v = std::move(rows.values);
  return result;
}

Rows Side::attention(int32_t layer, Batch& batch, const Rows& q) {
  Rows out;
  step(batch, {}, [&] {
    write(*q_, q);
    backend_.attention(attention_shape(config_), layer, *q_, *kv_, *attn_);
    out = read(*attn_, batch.num_tokens());
  });
  return out;
}

Rows Side::linear_residual(const DeviceMatrix& w, Batch& batch, const Rows& in, const Rows& x) {
  Rows sum;
  DeviceActivation& input = in.width == attn_->width() ? *attn_ : *h_;
  step(batch, {}, [&] {
    write(input, in);
    write(*x_, x);
    backend_.linear_residual(w, input, *x_);
    sum = read(*x_, batch.num_tokens());
  });
  return sum;
}

Rows Side::gate_up(const LayerWeights& weights, Batch& batch, const Rows& x) {
  Rows hidden;
  step(batch, {}, [&] {
    write(*x_, x);
    backend_.ffn_gate_up(*weights.ffn_norm, config_.norm_eps, *weights.gate_up, *x_, *h_);
    hidden = read(*h_, batch.num_tokens());
  });
  return hidden;
}

Rows Side::gated(const DeviceVector& norm, const DeviceMatrix& gate_up, Batch& batch, const Rows& x) {
  Rows hidden;
  step(batch, {}, [&] {
    write(*x_, x);
    backend_.ffn_gate_up(norm, config_.norm_eps, gate_up, *x_, *gated_);
    hidden = read(*gated_, batch.num_tokens());
  });
  return hidden;
}

Rows Side::moe_ffn(const Backend::MoeFfn& op, Batch& batch, const Rows& x) {
  Rows sum;
  step(batch, {}, [&] {
    write(*x_, x);
    backend_.moe_ffn(op, *x_);
    sum = read(*x_, batch.num_tokens());
  });
  return sum;
}

Rows Side::logits(const DeviceVector& norm, const DeviceMatrix& w, Batch& batch, const Rows& x) {
  Rows result{w.rows(), {}};
  step(batch, batch.all_rows(), [&] {
    write(*x_, x);
    backend_.logits(norm, config_.norm_eps, w, *x_);
    result.values.reserve(static_cast<size_t>(batch.num_tokens() * w.rows()));
    for (int32_t t = 0; t < batch.num_tokens(); ++t) {
      const std::vector<float> row = backend_.read_logits(t);
      result.values.insert(result.values.end(), row.begin(), row.end());
    }
  });
  return result;
}

Rows Side::embed(const DeviceMatrix& table, Batch& batch) {
  Rows result;
  step(batch, {}, [&] {
    backend_.embed(table, *x_);
    result = read(*x_, batch.num_tokens());
  });
  return result;
}

Rows Side::layer(const LayerWeights& weights, const RopeTable& rope, int32_t layer, Batch& batch,
                 const Rows& x) {
  Rows result;
  step(batch, {}, [&] {
    write(*x_, x);
    backend_.attn_input(attn_input_op(weights, config_, rope, layer), *x_, *kv_, *q_);
    backend_.attention(attention_shape(config_), layer, *q_, *kv_, *attn_);
    backend_.linear_residual(*weights.attn_output, *attn_, *x_);
    if (config_.arch->moe) {
      backend_.moe_ffn(moe_ffn_op(weights, config_), *x_);
    } else {
      backend_.ffn_gate_up(*weights.ffn_norm, config_.norm_eps, *weights.gate_up, *x_, *h_);
      backend_.linear_residual(*weights.down, *h_, *x_);
    }
    result = read(*x_, batch.num_tokens());
  });
  return result;
}

KvRows Side::read_kv(int32_t layer, std::span<const int32_t> slots) {
  const int64_t width = int64_t{config_.num_kv_heads} * config_.head_dim;
  KvRows rows{{width, {}}, {width, {}}};
  for (const int32_t slot : slots) {
    for (int32_t head = 0; head < config_.num_kv_heads; ++head) {
      const KvRow row = backend_.read_kv(*kv_, {layer, head, slot});
      rows.keys.values.insert(rows.keys.values.end(), row.key.begin(), row.key.end());
      rows.values.values.insert(rows.values.values.end(), row.value.begin(), row.value.end());
    }
  }
  return rows;
}

void Side::write_kv(int32_t layer, std::span<const int32_t> slots, const KvRows& rows) {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  for (size_t i = 0; i < slots.size(); ++i) {
    const auto keys = rows.keys.row(static_cast<int64_t>(i)),
               values = rows.values.row(static_cast<int64_t>(i));
    for (int32_t head = 0; head < config_.num_kv_heads; ++head) {
      const size_t at = static_cast<size_t>(head) * head_dim;
      const auto key = keys.subspan(at, head_dim), value = values.subspan(at, head_dim);
      backend_.write_kv(*kv_, {layer, head, slots[i]},
                        {{key.begin(), key.end()}, {value.begin(), value.end()}});
    }
  }
}

void Side::fill_kv(int32_t layer, float key, float value, std::span<const int32_t> keep) {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  const KvRow row{std::vector<float>(head_dim, key), std::vector<float>(head_dim, value)};
  std::vector<int32_t> kept(keep.begin(), keep.end());
  std::sort(kept.begin(), kept.end());
  for (int32_t slot = 0; slot < num_slots(); ++slot) {
    if (std::binary_search(kept.begin(), kept.end(), slot)) continue;
    for (int32_t head = 0; head < config_.num_kv_heads; ++head)
      backend_.write_kv(*kv_, {layer, head, slot}, row);
  }
}

}  // namespace qwend::verify
