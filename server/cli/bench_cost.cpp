#include "server/cli/bench_cost.h"

#include <cmath>

namespace qwend::cli {

TokenCost::TokenCost(const gguf::File& file, const ModelConfig& config, size_t kv_bytes_per_token)
    : config_(config), kv_bytes_per_token_(static_cast<double>(kv_bytes_per_token)) {
  const double chosen =
      config.arch->moe ? static_cast<double>(config.moe.num_used) / config.moe.num_experts : 1.0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const auto bytes = static_cast<double>(tensor.bytes), elements = static_cast<double>(tensor.elements());
    const bool embedding = tensor.name == "token_embd.weight";
    const bool experts = tensor.experts() > 1;
    if (experts) {
      expert_bytes_ += bytes;
    } else if (!embedding || config.tied_output) {
      matrix_bytes_ += bytes;
    }
    if (tensor.name.starts_with("blk.")) layer_parameters_ += elements * (experts ? chosen : 1.0);
  }
  output_parameters_ = static_cast<double>(config.vocab) * config.embedding;
}

double TokenCost::decode_bytes(int streams, double context) const {
  double read = matrix_bytes_ + kv_bytes_per_token_ * context * streams;
  if (config_.arch->moe) {
    const double passed_over = 1.0 - static_cast<double>(config_.moe.num_used) / config_.moe.num_experts;
    read += expert_bytes_ * (1.0 - std::pow(passed_over, streams));
  }
  return read;
}

double TokenCost::attention_flops(double context) const {
  return 4.0 * config_.num_layers * config_.num_heads * config_.head_dim * context;  // q k^T and p v
}

double TokenCost::decode_flops(double context) const {
  return 2.0 * (layer_parameters_ + output_parameters_) + attention_flops(context);
}

double TokenCost::prompt_flops(int tokens) const {
  return 2.0 * layer_parameters_ + attention_flops(tokens / 2.0);
}

}  // namespace qwend::cli
