// What a model is: sizes and switches read from the metadata, and the table of architectures we know.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/gguf/gguf.h"
#include "kernels/backend.h"

namespace qwend {

// A Qwen variant is one row: which features its layers have. Features are never inferred from each other.
struct Architecture {
  std::string_view name;  // general.architecture
  bool qkv_bias = false;
  bool qk_norm = false;
  bool moe = false;
  bool shared_expert = false;
  bool renormalise_experts = false;
};
const Architecture* find_architecture(std::string_view name);  // nullptr: unknown
std::string supported_architectures();                         // "qwen2, qwen3, ..."

enum class RopeScaling : uint8_t { None, Linear, Yarn };

struct RopeConfig {
  double base = 10000.0;
  int32_t rotary_dim = 0;
  RopeScaling scaling = RopeScaling::None;
  double factor = 1.0;
  int32_t original_context = 0;
  double ext_factor = 1.0, attn_factor = 1.0, beta_fast = 32.0, beta_slow = 1.0;
};
RopeTable make_rope_table(const RopeConfig& rope);

struct ModelConfig {
  const Architecture* arch = nullptr;
  std::string name;  // general.name, or the file's name
  int32_t num_layers = 0;
  int32_t embedding = 0;       // D
  int32_t num_heads = 0;       // H
  int32_t num_kv_heads = 0;    // K
  int32_t head_dim = 0;        // hd
  int32_t ffn = 0;             // F
  int32_t vocab = 0;           // V: rows of token_embd
  int32_t context_length = 0;  // trained
  float norm_eps = 1e-6f;
  bool tied_output = false;
  RopeConfig rope;
  MoeShape moe;            // when arch->moe
  int32_t shared_ffn = 0;  // when arch->shared_expert
  // Reads and validates; throws LoadError naming the key. Also checks every tensor of the tensor table
  // (name, shape rule, required): all mismatches are listed in one message.
  static ModelConfig from_gguf(const gguf::File& file);
  // The metadata alone, whatever the tensors are like (but token_embd.weight, whose rows are the vocabulary).
  static ModelConfig from_metadata(const gguf::File& file);
};

}  // namespace qwend
