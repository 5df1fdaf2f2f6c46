#include "engine/model/tensor_table.h"

#include <set>
#include <span>

#include "kernels/check.h"

namespace qwend {

namespace {

constexpr TensorRule kTensors[] = {
    {"token_embd.weight", {Dim::Embedding, Dim::Vocab}},
    {"output_norm.weight", {Dim::Embedding}},
    {"output.weight", {Dim::Embedding, Dim::Vocab}, When::Always, false},  // absent: tied to token_embd
    {"cls.output.weight", {Dim::Embedding, Dim::Labels}, When::Always, false},

    {"blk.%.attn_norm.weight", {Dim::Embedding}},
    {"blk.%.attn_q.weight", {Dim::Embedding, Dim::Queries}, When::QkvSplit},
    {"blk.%.attn_k.weight", {Dim::Embedding, Dim::KeyValues}, When::QkvSplit},
    {"blk.%.attn_v.weight", {Dim::Embedding, Dim::KeyValues}, When::QkvSplit},
    {"blk.%.attn_q.bias", {Dim::Queries}, When::BiasSplit},
    {"blk.%.attn_k.bias", {Dim::KeyValues}, When::BiasSplit},
    {"blk.%.attn_v.bias", {Dim::KeyValues}, When::BiasSplit},
    {"blk.%.attn_qkv.weight", {Dim::Embedding, Dim::Qkv}, When::QkvFused},
    {"blk.%.attn_qkv.bias", {Dim::Qkv}, When::BiasFused},
    {"blk.%.attn_q_norm.weight", {Dim::HeadDim}, When::QkNorm},
    {"blk.%.attn_k_norm.weight", {Dim::HeadDim}, When::QkNorm},
    {"blk.%.attn_output.weight", {Dim::Queries, Dim::Embedding}},

    {"blk.%.ffn_norm.weight", {Dim::Embedding}},
    {"blk.%.ffn_gate.weight", {Dim::Embedding, Dim::Ffn}, When::Dense},
    {"blk.%.ffn_up.weight", {Dim::Embedding, Dim::Ffn}, When::Dense},
    {"blk.%.ffn_down.weight", {Dim::Ffn, Dim::Embedding}, When::Dense},

    {"blk.%.ffn_gate_inp.weight", {Dim::Embedding, Dim::Experts}, When::Moe},
    {"blk.%.ffn_gate_exps.weight", {Dim::Embedding, Dim::ExpertFfn, Dim::Experts}, When::ExpertsSplit},
    {"blk.%.ffn_up_exps.weight", {Dim::Embedding, Dim::ExpertFfn, Dim::Experts}, When::ExpertsSplit},
    {"blk.%.ffn_gate_up_exps.weight", {Dim::Embedding, Dim::GateUpFfn, Dim::Experts}, When::ExpertsFused},
    {"blk.%.ffn_down_exps.weight", {Dim::ExpertFfn, Dim::Embedding, Dim::Experts}, When::Moe},

    {"blk.%.ffn_gate_inp_shexp.weight", {Dim::Embedding}, When::SharedExpert},
    {"blk.%.ffn_gate_shexp.weight", {Dim::Embedding, Dim::SharedFfn}, When::SharedExpert},
    {"blk.%.ffn_up_shexp.weight", {Dim::Embedding, Dim::SharedFfn}, When::SharedExpert},
    {"blk.%.ffn_down_shexp.weight", {Dim::SharedFfn, Dim::Embedding}, When::SharedExpert},
};

constexpr std::string_view kLayerPrefix = "blk.%.";

int64_t size_of(Dim dim, const ModelConfig& c) {
  switch (dim) {
    case Dim::None: return 1;
    case Dim::Embedding: return c.embedding;
    case Dim::Vocab: return c.vocab;
    case Dim::Queries: return int64_t{c.num_heads} * c.head_dim;
    case Dim::KeyValues: return int64_t{c.num_kv_heads} * c.head_dim;
    case Dim::Qkv: return (int64_t{c.num_heads} + 2 * int64_t{c.num_kv_heads}) * c.head_dim;
    case Dim::HeadDim: return c.head_dim;
    case Dim::Ffn: return c.ffn;
    case Dim::Experts: return c.moe.num_experts;
    case Dim::ExpertFfn: return c.moe.expert_ffn;
    case Dim::GateUpFfn: return 2 * int64_t{c.moe.expert_ffn};
    case Dim::SharedFfn: return c.shared_ffn;
    case Dim::Labels: return 2;
  }
  CHECK(false);
}

bool applies(When when, const Architecture& arch, const TensorLayout& layout) {
  switch (when) {
    case When::Always: return true;
    case When::QkvSplit: return !layout.fused_qkv;
    case When::QkvFused: return layout.fused_qkv;
    case When::BiasSplit: return arch.qkv_bias && !layout.fused_qkv;
    case When::BiasFused: return arch.qkv_bias && layout.fused_qkv;
    case When::QkNorm: return arch.qk_norm;
    case When::Dense: return !arch.moe;
    case When::Moe: return arch.moe;
    case When::ExpertsSplit: return arch.moe && !layout.fused_expert_gate_up;
    case When::ExpertsFused: return arch.moe && layout.fused_expert_gate_up;
    case When::SharedExpert: return arch.shared_expert;
  }
  CHECK(false);
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Trailing sides of 1 say nothing: [8, 1] is [8].
bool same_shape(std::span<const int64_t> a, std::span<const int64_t> b) {
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if ((i < a.size() ? a[i] : 1) != (i < b.size() ? b[i] : 1)) return false;
  }
  return true;
}

void check_one(const gguf::File& file, const TensorRule& rule, const std::string& name,
               const ModelConfig& config, std::vector<std::string>& problems) {
  const gguf::TensorInfo* tensor = file.find_tensor(name);
  if (tensor == nullptr) {
    if (rule.required) problems.push_back(name + " is missing");
    return;
  }
  std::vector<int64_t> wanted;
  for (const Dim dim : rule.shape) {
    if (dim != Dim::None) wanted.push_back(size_of(dim, config));
  }
  if (!same_shape(tensor->shape, wanted)) {
    problems.push_back(name + " has shape " + shape_text(tensor->shape) + ", the metadata asks for " +
                       shape_text(wanted));
  } else if (tensor->dtype == DType::I32) {
    problems.push_back(name + " holds integers");
  }
}

}  // namespace

TensorLayout TensorLayout::of(const gguf::File& file) {
  return {file.find_tensor("blk.0.attn_qkv.weight") != nullptr,
          file.find_tensor("blk.0.ffn_gate_up_exps.weight") != nullptr};
}

std::string layer_tensor(int32_t layer, std::string_view suffix) {
  return "blk." + std::to_string(layer) + "." + std::string(suffix);
}

std::vector<std::string> check_tensors(const gguf::File& file, const ModelConfig& config) {
  const TensorLayout layout = TensorLayout::of(file);
  std::vector<std::string> problems;
  std::set<std::string, std::less<>> known;
  auto check_name = [&](const TensorRule& rule, std::string name) {
    check_one(file, rule, name, config, problems);
    known.insert(std::move(name));
  };
  for (const TensorRule& rule : kTensors) {
    if (!applies(rule.when, *config.arch, layout)) continue;
    if (!rule.name.starts_with(kLayerPrefix)) {
      check_name(rule, std::string(rule.name));
      continue;
    }
    for (int32_t layer = 0; layer < config.num_layers; ++layer) {
      check_name(rule, layer_tensor(layer, rule.name.substr(kLayerPrefix.size())));
    }
  }
  // An unknown tensor means a part of the model that would be left out: wrong answers, so no.
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (!known.contains(tensor.name)) {
      problems.push_back(std::string(tensor.name) + " is not part of " + std::string(config.arch->name));
    }
  }
  return problems;
}

}  // namespace qwend
