#include "tests/support/faulty_backend.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/quant/formats.h"

namespace qwend::test {
namespace {

std::vector<float> transpose(const HostMatrix& matrix) {
  CHECK(matrix.rows == matrix.cols && matrix.experts == 1);
  const auto side = static_cast<size_t>(matrix.rows);
  std::vector<float> values(side * side), result(side * side);
  dequantize(matrix.dtype, matrix.data, values.data(), static_cast<int64_t>(values.size()));
  for (size_t r = 0; r < side; ++r) {
    for (size_t c = 0; c < side; ++c) result[c * side + r] = values[r * side + c];
  }
  return result;
}

void rotate_pairs(const RopeTable& rope, int32_t position, float* head) {
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double angle = position * rope.inv_freq[i], a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = static_cast<float>((a * std::cos(angle) - b * std::sin(angle)) * rope.magnitude);
    head[2 * i + 1] = static_cast<float>((a * std::sin(angle) + b * std::cos(angle)) * rope.magnitude);
  }
}

}  // namespace

Matrix FaultyBackend::upload(std::span<const HostMatrix> parts) {
  std::vector<HostMatrix> changed(parts.begin(), parts.end());
  std::vector<float> values;
  std::vector<std::byte> bytes;
  HostMatrix* target = nullptr;
  for (HostMatrix& part : changed) {
    if (!fault_.tensor.empty() && part.name == fault_.tensor) target = &part;
  }
  if (target == nullptr) return inner_->upload(parts);
  if (fault_.kind == FaultKind::FlippedByte) {
    const size_t size = format_bytes(target->dtype, target->rows * target->cols * target->experts);
    bytes.assign(target->data, target->data + size);
    bytes[size / 2 | 3] ^= std::byte{0x80};  // of an F32: its sign
    target->data = bytes.data();
    return inner_->upload(changed);
  }
  values = transpose(*target);
  HostMatrix turned = *target;
  turned.data = reinterpret_cast<const std::byte*>(values.data());
  turned.dtype = DType::F32;
  if (fault_.kind == FaultKind::TransposedWeight) {
    *target = turned;
    return inner_->upload(changed);
  }
  CHECK(fault_.kind == FaultKind::TransposedProduct && parts.size() == 1);
  transposed_ = inner_->upload({&turned, 1});
  Matrix matrix = inner_->upload(parts);
  marked_ = matrix.get();
  return matrix;
}

bool FaultyBackend::begin_step(const StepInput& input, uint64_t) {
  input_ = input;
  return inner_->begin_step(input, 0);
}

void FaultyBackend::attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                               DeviceActivation& q) {
  AttnInput changed = op;
  if (planted(FaultKind::NormEps, op.layer)) changed.eps *= 10;
  if (planted(FaultKind::LoneStep, op.layer) && input_.num_seqs() == 1) changed.eps = 1e6f;
  if (planted(FaultKind::MissingBias, op.layer)) changed.bias = nullptr;
  if (planted(FaultKind::InterleavedRope, op.layer)) {
    unrotated_ = op.rope;
    std::ranges::fill(unrotated_.inv_freq, 0.0);
    unrotated_.magnitude = 1.0f;
    inner_->attn_input({changed.norm, changed.eps, changed.qkv, changed.bias, changed.q_norm, changed.k_norm,
                        unrotated_, changed.shape, changed.layer},
                       x, kv, q);
    rotate_interleaved(op, kv, q);
    return;
  }
  std::vector<KvRow> overwritten;  // what the right slots held
  if (planted(FaultKind::SlotOffByOne, op.layer)) {
    for (const int32_t slot : input_.slot_mapping) {
      for (int32_t head = 0; head < op.shape.num_kv_heads; ++head) {
        overwritten.push_back(inner_->read_kv(kv, {op.layer, head, slot}));
      }
    }
  }
  inner_->attn_input(changed, x, kv, q);

  if (planted(FaultKind::SlotOffByOne, op.layer)) {
    const int32_t slots = kv.spec().num_blocks * kv.spec().block_size;
    std::vector<KvRow> written;
    for (const int32_t slot : input_.slot_mapping) {
      for (int32_t head = 0; head < op.shape.num_kv_heads; ++head) {
        written.push_back(inner_->read_kv(kv, {op.layer, head, slot}));
      }
    }
    size_t i = 0;
    for (const int32_t slot : input_.slot_mapping) {
      for (int32_t head = 0; head < op.shape.num_kv_heads; ++head) {
        inner_->write_kv(kv, {op.layer, head, slot}, overwritten[i++]);
      }
    }
    i = 0;
    for (const int32_t slot : input_.slot_mapping) {
      for (int32_t head = 0; head < op.shape.num_kv_heads; ++head) {
        inner_->write_kv(kv, {op.layer, head, (slot + 1) % slots}, written[i++]);
      }
    }
  }
  if (planted(FaultKind::SwappedKvHeads, op.layer) || planted(FaultKind::SwappedKeyValue, op.layer)) {
    for (const int32_t slot : input_.slot_mapping) {
      KvRow a = inner_->read_kv(kv, {op.layer, 0, slot}), b = inner_->read_kv(kv, {op.layer, 1, slot});
      if (fault_.kind == FaultKind::SwappedKvHeads) {
        std::swap(a, b);
      } else {
        std::swap(a.key, a.value), std::swap(b.key, b.value);
      }
      inner_->write_kv(kv, {op.layer, 0, slot}, a);
      inner_->write_kv(kv, {op.layer, 1, slot}, b);
    }
  }
}

void FaultyBackend::rotate_interleaved(const AttnInput& op, DeviceKvCache& kv, DeviceActivation& q) {
  for (int32_t t = 0; t < input_.num_tokens(); ++t) {
    const int32_t position = input_.positions[static_cast<size_t>(t)];
    std::vector<float> queries = inner_->read(q, t);
    for (int32_t head = 0; head < op.shape.num_heads; ++head) {
      rotate_pairs(op.rope, position, &queries[static_cast<size_t>(head * op.shape.head_dim)]);
    }
    inner_->write(q, t, queries);
    for (int32_t head = 0; head < op.shape.num_kv_heads; ++head) {
      const KvPlace place{op.layer, head, input_.slot_mapping[static_cast<size_t>(t)]};
      KvRow row = inner_->read_kv(kv, place);
      rotate_pairs(op.rope, position, row.key.data());
      inner_->write_kv(kv, place, row);
    }
  }
}

void FaultyBackend::attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                              const DeviceKvCache& kv, DeviceActivation& out) {
  for (const FaultKind kind :
       {FaultKind::GqaModulo, FaultKind::SeesNext, FaultKind::MissesSelf, FaultKind::ScoreScale}) {
    if (planted(kind, layer)) return host_attention(shape, layer, q, kv, out);
  }
  inner_->attention(shape, layer, q, kv, out);
}

// Attention in FP64, with the fault in it.
void FaultyBackend::host_attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                                   const DeviceKvCache& kv, DeviceActivation& out) {
  const int32_t block_size = kv.spec().block_size, capacity = input_.block_table_stride * block_size;
  const double scale =
      fault_.kind == FaultKind::ScoreScale ? 1.0 : 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  for (int32_t s = 0; s < input_.num_seqs(); ++s) {
    std::vector<std::vector<KvRow>> rows(static_cast<size_t>(shape.num_kv_heads));  // [K][positions]
    for (int32_t j = 0; j < std::min(input_.context_lens[static_cast<size_t>(s)] + 1, capacity); ++j) {
      const int32_t block =
          input_.block_tables[static_cast<size_t>(s * input_.block_table_stride + j / block_size)];
      if (block < 0) break;
      for (int32_t head = 0; head < shape.num_kv_heads; ++head) {
        rows[static_cast<size_t>(head)].push_back(
            inner_->read_kv(kv, {layer, head, block * block_size + j % block_size}));
      }
    }
    for (int32_t t = input_.cu_seqlens[static_cast<size_t>(s)];
         t < input_.cu_seqlens[static_cast<size_t>(s) + 1]; ++t) {
      const int32_t position = input_.positions[static_cast<size_t>(t)];
      int32_t end = position + 1;
      if (fault_.kind == FaultKind::SeesNext) ++end;
      if (fault_.kind == FaultKind::MissesSelf && position > 0) --end;
      const std::vector<float> queries = inner_->read(q, t);
      std::vector<float> result(queries.size());
      for (int32_t head = 0; head < shape.num_heads; ++head) {
        const int32_t kv_head = fault_.kind == FaultKind::GqaModulo
                                    ? head % shape.num_kv_heads
                                    : head / (shape.num_heads / shape.num_kv_heads);
        const std::vector<KvRow>& context = rows[static_cast<size_t>(kv_head)];
        const size_t count = std::min(static_cast<size_t>(end), context.size());
        const float* query = &queries[static_cast<size_t>(head * shape.head_dim)];
        std::vector<double> weights(count);
        double top = -INFINITY, sum = 0.0;
        for (size_t j = 0; j < count; ++j) {
          for (size_t d = 0; d < context[j].key.size(); ++d)
            weights[j] += static_cast<double>(query[d]) * context[j].key[d];
          weights[j] *= scale;
          top = std::max(top, weights[j]);
        }
        for (double& w : weights) sum += w = std::exp(w - top);
        for (size_t d = 0; d < static_cast<size_t>(shape.head_dim); ++d) {
          double value = 0.0;
          for (size_t j = 0; j < count; ++j) value += weights[j] / sum * context[j].value[d];
          result[static_cast<size_t>(head * shape.head_dim) + d] = static_cast<float>(value);
        }
      }
      inner_->write(out, t, result);
    }
  }
}

void FaultyBackend::linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) {
  const DeviceMatrix& used = marked_ == &w ? *transposed_ : w;
  if (fault_.kind == FaultKind::Overwrites) {
    const std::vector<float> zeros(static_cast<size_t>(x.width()));
    for (int32_t t = 0; t < input_.num_tokens(); ++t) inner_->write(x, t, zeros);
  }
  inner_->linear_residual(used, in, x);
}

}  // namespace qwend::test
