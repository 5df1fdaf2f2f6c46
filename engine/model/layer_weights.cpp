#include "engine/model/layer_weights.h"

namespace qwend {

std::vector<LayerWeightRule> layer_weight_rules(const Architecture& arch, const TensorLayout& layout) {
  using W = LayerWeights;
  std::vector<LayerWeightRule> rules;
  const auto matrix = [&](Matrix W::*member, std::vector<std::string_view> tensors) {
    rules.push_back({member, nullptr, std::move(tensors)});
  };
  const auto vector = [&](Vector W::*member, std::vector<std::string_view> tensors) {
    rules.push_back({nullptr, member, std::move(tensors)});
  };
  vector(&W::attn_norm, {"attn_norm.weight"});
  if (layout.fused_qkv) {
    matrix(&W::qkv, {"attn_qkv.weight"});
    if (arch.qkv_bias) vector(&W::qkv_bias, {"attn_qkv.bias"});
  } else {
    matrix(&W::qkv, {"attn_q.weight", "attn_k.weight", "attn_v.weight"});
    if (arch.qkv_bias) vector(&W::qkv_bias, {"attn_q.bias", "attn_k.bias", "attn_v.bias"});
  }
  if (arch.qk_norm) {
    vector(&W::q_norm, {"attn_q_norm.weight"});
    vector(&W::k_norm, {"attn_k_norm.weight"});
  }
  matrix(&W::attn_output, {"attn_output.weight"});
  vector(&W::ffn_norm, {"ffn_norm.weight"});
  if (!arch.moe) {
    matrix(&W::gate_up, {"ffn_gate.weight", "ffn_up.weight"});
    matrix(&W::down, {"ffn_down.weight"});
    return rules;
  }
  matrix(&W::router, {"ffn_gate_inp.weight"});
  if (layout.fused_expert_gate_up) {
    matrix(&W::gate_up, {"ffn_gate_up_exps.weight"});
  } else {
    matrix(&W::gate_up, {"ffn_gate_exps.weight", "ffn_up_exps.weight"});
  }
  matrix(&W::down, {"ffn_down_exps.weight"});
  if (arch.shared_expert) {
    vector(&W::shared_gate, {"ffn_gate_inp_shexp.weight"});
    matrix(&W::shared_gate_up, {"ffn_gate_shexp.weight", "ffn_up_shexp.weight"});
    matrix(&W::shared_down, {"ffn_down_shexp.weight"});
  }
  return rules;
}

LayerWeights load_layer(WeightLoader& load, const Architecture& arch, int32_t layer) {
  LayerWeights weights;
  load.enter_layer(layer);
  for (const LayerWeightRule& rule : layer_weight_rules(arch, load.layout())) {
    if (rule.vector != nullptr) {
      weights.*rule.vector = load.vector(rule.tensors);
    } else if (rule.tensors.front() == "ffn_gate_up_exps.weight") {
      weights.*rule.matrix = load.split_halves(rule.tensors.front());  // backends want gate and up as two
    } else {
      weights.*rule.matrix = load.matrix(rule.tensors);
    }
  }
  return weights;
}

AttentionShape attention_shape(const ModelConfig& config) {
  return {config.num_heads, config.num_kv_heads, config.head_dim, config.norm_eps};
}

KvCacheSpec kv_cache_spec(const ModelConfig& config, int32_t num_blocks, int32_t block_size, KvDType dtype) {
  return {config.num_layers, num_blocks, block_size, config.num_kv_heads, config.head_dim, dtype};
}

Backend::AttnInput attn_input_op(const LayerWeights& weights, const ModelConfig& config,
                                 const RopeTable& rope, int32_t layer) {
  return {*weights.attn_norm,
          config.norm_eps,
          *weights.qkv,
          weights.qkv_bias.get(),
          weights.q_norm.get(),
          weights.k_norm.get(),
          rope,
          attention_shape(config),
          layer};
}

Backend::MoeFfn moe_ffn_op(const LayerWeights& weights, const ModelConfig& config) {
  return {*weights.ffn_norm,
          config.norm_eps,
          *weights.router,
          *weights.gate_up,
          *weights.down,
          weights.shared_gate_up.get(),
          weights.shared_down.get(),
          weights.shared_gate.get(),
          config.moe};
}

}  // namespace qwend
