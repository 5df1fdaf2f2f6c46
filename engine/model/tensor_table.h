// Which tensors a model file must and may hold, with the shape of each: one row a tensor.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/gguf/gguf.h"
#include "engine/model/model_config.h"

namespace qwend {

// One side of a tensor, as a size of the model.
enum class Dim : uint8_t {
  None,
  Embedding,  // D
  Vocab,      // V
  Queries,    // H * hd
  KeyValues,  // K * hd
  Qkv,        // (H + 2 K) * hd
  HeadDim,    // hd
  Ffn,        // F
  Experts,    // E
  ExpertFfn,  // Fe
  GateUpFfn,  // 2 Fe
  SharedFfn,  // Fs
  Labels,     // 2: a reranker's "yes" and "no"
};

// The models a row applies to.
enum class When : uint8_t {
  Always,
  QkvSplit,
  QkvFused,
  BiasSplit,
  BiasFused,
  QkNorm,
  Dense,
  Moe,
  ExpertsSplit,
  ExpertsFused,
  SharedExpert,
};

struct TensorRule {
  std::string_view name;  // "blk.%." stands for every layer
  Dim shape[3];           // GGUF order: input width, output width, experts
  When when = When::Always;
  bool required = true;
};

// How a file stores what may be stored in two ways.
struct TensorLayout {
  bool fused_qkv = false;             // blk.N.attn_qkv instead of attn_q, attn_k, attn_v
  bool fused_expert_gate_up = false;  // blk.N.ffn_gate_up_exps instead of ffn_gate_exps, ffn_up_exps
  static TensorLayout of(const gguf::File& file);
};

// "blk.7.attn_norm.weight"
std::string layer_tensor(int32_t layer, std::string_view suffix);

// Every tensor that is missing, has another shape, or that no rule knows; one sentence each.
std::vector<std::string> check_tensors(const gguf::File& file, const ModelConfig& config);

}  // namespace qwend
