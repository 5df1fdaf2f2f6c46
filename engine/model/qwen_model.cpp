#include "engine/model/qwen_model.h"

#include <cmath>

#include "engine/model/weight_loader.h"
#include "kernels/check.h"

namespace qwend {
namespace {
// Stands for the op calls of forward(): a backend serves one model with one KV cache.
constexpr uint64_t kProgram = 1;
constexpr std::string_view kOutput[] = {"output.weight"}, kOutputNorm[] = {"output_norm.weight"};
}  // namespace

QwenModel::QwenModel(const gguf::File& file, ModelConfig config, Backend& backend, UploadProgress progress,
                     void* progress_context, uint64_t leave_free)
    : config_(std::move(config)), backend_(backend), rope_(make_rope_table(config_.rope)) {
  WeightLoader load(file, backend, progress, progress_context);
  embedding_ = load.embedding("token_embd.weight", config_.tied_output);
  if (!config_.tied_output) output_ = load.matrix(kOutput);
  output_norm_ = load.vector(kOutputNorm);
  output_norm_values_ = backend.read(*output_norm_);
  layers_.reserve(static_cast<size_t>(config_.num_layers));
  for (int32_t i = 0; i < config_.num_layers; ++i) layers_.push_back(load_layer(load, *config_.arch, i));
  const int64_t query_width = int64_t{config_.num_heads} * config_.head_dim;
  x_ = backend.allocate(config_.embedding);
  q_ = backend.allocate(query_width);
  attn_ = backend.allocate(query_width);
  const Architecture& arch = *config_.arch;
  if (!arch.moe) h_ = backend.allocate(config_.ffn);
  weight_bytes_ = load.device_bytes();
  StepShapes shapes{config_.embedding, arch.moe ? 0 : config_.ffn, config_.vocab, 0, attention_shape(config_),
                    config_.moe};
  if (arch.shared_expert) shapes.shared_ffn = layers_[0].shared_down->cols();
  for (const LayerWeights& layer : layers_) {
    for (const auto member : kStepMatrices) {
      if (DeviceMatrix* const matrix = (layer.*member).get(); matrix != nullptr && matrix->experts() == 1)
        shapes.matrices.push_back(matrix);
    }
  }
  shapes.leave_free = leave_free;
  const auto held = [&] {
    uint64_t bytes = 0;
    for (const DeviceMatrix* matrix : shapes.matrices) bytes += matrix->bytes();
    return bytes;
  };
  const uint64_t uploaded = held();
  backend.reserve(shapes);
  half_copy_bytes_ = held() - uploaded;
}

void QwenModel::forward(const StepInput& input, DeviceKvCache& kv) {
  const float eps = config_.norm_eps;
  if (!input.block_copies.empty()) backend_.copy_blocks(kv, input.block_copies);
  if (backend_.begin_step(input, kProgram)) return;
  backend_.embed(*embedding_, *x_);
  for (int32_t i = 0; i < config_.num_layers; ++i) {
    const LayerWeights& weights = layer(i);
    backend_.attn_input(attn_input_op(weights, config_, rope_, i), *x_, kv, *q_);
    backend_.attention(attention_shape(config_), i, *q_, kv, *attn_);
    backend_.linear_residual(*weights.attn_output, *attn_, *x_);
    if (config_.arch->moe) {
      backend_.moe_ffn(moe_ffn_op(weights, config_), *x_);
    } else {
      backend_.ffn_gate_up(*weights.ffn_norm, eps, *weights.gate_up, *x_, *h_);
      backend_.linear_residual(*weights.down, *h_, *x_);
    }
  }
  backend_.logits(*output_norm_, eps, output(), *x_);
}

// One row: not worth an op of its own.
std::vector<float> QwenModel::hidden(int32_t t) const {
  std::vector<float> row = backend_.read(*x_, t);
  double squares = 0.0;
  for (const float x : row) squares += static_cast<double>(x) * x;
  const double scale =
      1.0 / std::sqrt(squares / static_cast<double>(row.size()) + static_cast<double>(config_.norm_eps));
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = static_cast<float>(row[i] * scale * static_cast<double>(output_norm_values_[i]));
  return row;
}

}  // namespace qwend
