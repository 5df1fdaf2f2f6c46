// THE list of architectures.
#include "engine/model/model_config.h"

namespace qwend {

namespace {
constexpr Architecture kArchitectures[] = {
    // name, qkv_bias, qk_norm, moe, shared_expert, renormalise_experts
    {"qwen2", true, false, false, false, false},   // Qwen1.5, 2, 2.5, QwQ, R1-Distill-Qwen
    {"qwen2moe", true, false, true, true, false},  // Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B
    {"qwen3", false, true, false, false, false},   // Qwen3 dense, Embedding, Reranker
    {"qwen3moe", false, true, true, false, true},  // Qwen3-30B-A3B, 235B-A22B, Coder
};
}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture& arch : kArchitectures) {
    if (arch.name == name) return &arch;
  }
  return nullptr;
}

std::string supported_architectures() {
  std::string list;
  for (const Architecture& arch : kArchitectures) list += (list.empty() ? "" : ", ") + std::string(arch.name);
  return list;
}

}  // namespace qwend
