#include "engine/model/qwen_model.h"

#include "engine/model/weight_loader.h"
#include "kernels/check.h"

namespace qwend {
namespace {
// Stands for the op calls of forward(): a backend serves one model with one KV cache.
constexpr uint64_t kProgram = 1;
}  // namespace

// Weights of one layer; members that the architecture lacks are empty.
struct QwenModel::Layer {
  Vector attn_norm, ffn_norm;
  Matrix qkv, attn_output;
  Vector qkv_bias, q_norm, k_norm;
  Matrix gate_up, down;  // dense: one feed-forward; MoE: a stack of experts
  Matrix router, shared_gate_up, shared_down;
  Vector shared_gate;
};

QwenModel::QwenModel(const gguf::File& file, ModelConfig config, Backend& backend, Progress progress,
                     void* progress_context)
    : config_(std::move(config)), backend_(backend), rope_(make_rope_table(config_.rope)) {
  WeightLoader load(file, backend, progress, progress_context);
  embedding_ = load.embedding("token_embd.weight", config_.tied_output);
  if (!config_.tied_output) output_ = load.matrix({"output.weight"});
  output_norm_ = load.vector({"output_norm.weight"});
  const Architecture& arch = *config_.arch;
  layers_.reserve(static_cast<size_t>(config_.num_layers));
  for (int32_t i = 0; i < config_.num_layers; ++i) {
    load.enter_layer(i);
    Layer& layer = layers_.emplace_back();
    layer.attn_norm = load.vector({"attn_norm.weight"});
    layer.qkv = load.layout().fused_qkv ? load.matrix({"attn_qkv.weight"})
                                        : load.matrix({"attn_q.weight", "attn_k.weight", "attn_v.weight"});
    if (arch.qkv_bias) {
      layer.qkv_bias = load.layout().fused_qkv ? load.vector({"attn_qkv.bias"})
                                               : load.vector({"attn_q.bias", "attn_k.bias", "attn_v.bias"});
    }
    if (arch.qk_norm) {
      layer.q_norm = load.vector({"attn_q_norm.weight"});
      layer.k_norm = load.vector({"attn_k_norm.weight"});
    }
    layer.attn_output = load.matrix({"attn_output.weight"});
    layer.ffn_norm = load.vector({"ffn_norm.weight"});
    if (!arch.moe) {
      layer.gate_up = load.matrix({"ffn_gate.weight", "ffn_up.weight"});
      layer.down = load.matrix({"ffn_down.weight"});
      continue;
    }
    layer.router = load.matrix({"ffn_gate_inp.weight"});
    layer.gate_up = load.layout().fused_expert_gate_up
                        ? load.split_halves("ffn_gate_up_exps.weight")
                        : load.matrix({"ffn_gate_exps.weight", "ffn_up_exps.weight"});
    layer.down = load.matrix({"ffn_down_exps.weight"});
    if (arch.shared_expert) {
      layer.shared_gate = load.vector({"ffn_gate_inp_shexp.weight"});
      layer.shared_gate_up = load.matrix({"ffn_gate_shexp.weight", "ffn_up_shexp.weight"});
      layer.shared_down = load.matrix({"ffn_down_shexp.weight"});
    }
  }
  const int64_t query_width = int64_t{config_.num_heads} * config_.head_dim;
  x_ = backend.allocate(config_.embedding);
  q_ = backend.allocate(query_width);
  attn_ = backend.allocate(query_width);
  if (!arch.moe) h_ = backend.allocate(config_.ffn);
  weight_bytes_ = load.device_bytes();
  StepShapes shapes{config_.embedding, arch.moe ? 0 : config_.ffn, config_.vocab, 0, attention_shape(),
                    config_.moe,       config_.context_length};
  if (arch.shared_expert) shapes.shared_ffn = layers_[0].shared_down->cols();
  backend.reserve(shapes);
}

AttentionShape QwenModel::attention_shape() const {
  return {config_.num_heads, config_.num_kv_heads, config_.head_dim, config_.norm_eps};
}

QwenModel::~QwenModel() = default;

KvCacheSpec QwenModel::kv_spec(int32_t num_blocks, int32_t block_size, KvDType dtype) const {
  return {config_.num_layers, num_blocks, block_size, config_.num_kv_heads, config_.head_dim, dtype};
}

void QwenModel::forward(const StepInput& input, DeviceKvCache& kv) {
  const float eps = config_.norm_eps;
  const AttentionShape heads = attention_shape();
  if (backend_.begin_step(input, kProgram)) return;
  backend_.embed(*embedding_, *x_);
  for (int32_t i = 0; i < config_.num_layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    backend_.attn_input({*layer.attn_norm, eps, *layer.qkv, layer.qkv_bias.get(), layer.q_norm.get(),
                         layer.k_norm.get(), rope_, heads, i},
                        *x_, kv, *q_);
    backend_.attention(heads, i, *q_, kv, *attn_);
    backend_.linear_residual(*layer.attn_output, *attn_, *x_);
    if (config_.arch->moe) {
      backend_.moe_ffn(
          {*layer.ffn_norm, eps, *layer.router, *layer.gate_up, *layer.down, layer.shared_gate_up.get(),
           layer.shared_down.get(), layer.shared_gate.get(), config_.moe},
          *x_);
    } else {
      backend_.ffn_gate_up(*layer.ffn_norm, eps, *layer.gate_up, *x_, *h_);
      backend_.linear_residual(*layer.down, *h_, *x_);
    }
  }
  backend_.logits(*output_norm_, eps, config_.tied_output ? *embedding_ : *output_, *x_);
}

}  // namespace qwend
