// The weights of one layer: what they are made of, how they are loaded, which ops use them.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/model/weight_loader.h"
#include "kernels/backend.h"

namespace qwend {

// Members that the architecture lacks are empty.
struct LayerWeights {
  Vector attn_norm, ffn_norm;
  Matrix qkv, attn_output;
  Vector qkv_bias, q_norm, k_norm;
  Matrix gate_up, down;  // dense: one feed-forward; MoE: a stack of experts
  Matrix router, shared_gate_up, shared_down;
  Vector shared_gate;
};

// What every token is multiplied by, where the layer has it and it is no stack of experts
// (StepShapes::matrices).
inline constexpr Matrix LayerWeights::*kStepMatrices[] = {
    &LayerWeights::qkv,  &LayerWeights::attn_output,    &LayerWeights::gate_up,
    &LayerWeights::down, &LayerWeights::shared_gate_up, &LayerWeights::shared_down};

// One member of LayerWeights and the layer's tensors that it is made of, without "blk.i.": their rows (of
// each expert) or elements follow each other. Exactly one of matrix and vector is set.
struct LayerWeightRule {
  Matrix LayerWeights::*matrix = nullptr;
  Vector LayerWeights::*vector = nullptr;
  std::vector<std::string_view> tensors;
};
std::vector<LayerWeightRule> layer_weight_rules(const Architecture& arch, const TensorLayout& layout);

// Uploads layer i. Throws LoadError.
LayerWeights load_layer(WeightLoader& load, const Architecture& arch, int32_t layer);

// The ops of a layer with its weights; weights and rope must outlive the result.
AttentionShape attention_shape(const ModelConfig& config);
KvCacheSpec kv_cache_spec(const ModelConfig& config, int32_t num_blocks, int32_t block_size, KvDType dtype);
Backend::AttnInput attn_input_op(const LayerWeights& weights, const ModelConfig& config,
                                 const RopeTable& rope, int32_t layer);
Backend::MoeFfn moe_ffn_op(const LayerWeights& weights, const ModelConfig& config);

}  // namespace qwend
