// A complete model of a few kilobytes, in F32, for each architecture. Tests change a key or a tensor, then
// write it.
#pragma once
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "engine/gguf/gguf.h"
#include "tests/support/gguf_writer.h"

namespace qwend::test {

struct TinyModel {
  struct Weights {
    std::vector<uint64_t> shape;  // GGUF order
    std::vector<float> values;
  };
  // 64-bit numbers and texts only: the reader takes any width.
  std::map<std::string, std::variant<int64_t, double, std::string>> keys;
  std::map<std::string, Weights> tensors;
  std::string arch;

  // 2 layers, D 32, 4 heads of 8 over 2 KV heads, F 48, V 40; 4 experts of 16, 2 used.
  explicit TinyModel(const std::string& architecture) : arch(architecture) {
    const bool moe = arch.ends_with("moe"), bias = arch.starts_with("qwen2");
    keys["general.architecture"] = arch;
    key("block_count", 2), key("context_length", 512), key("embedding_length", 32),
        key("feed_forward_length", 48);
    key("attention.head_count", 4), key("attention.head_count_kv", 2);
    keys[arch + ".attention.layer_norm_rms_epsilon"] = 1e-6;
    keys[arch + ".rope.freq_base"] = 1e6;
    if (moe) key("expert_count", 4), key("expert_used_count", 2), key("expert_feed_forward_length", 16);
    if (arch == "qwen2moe") key("expert_shared_feed_forward_length", 24);
    add("token_embd.weight", {32, 40}), add("output_norm.weight", {32});
    for (int layer = 0; layer < 2; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      add(blk + "attn_norm.weight", {32}), add(blk + "ffn_norm.weight", {32});
      add(blk + "attn_q.weight", {32, 32}), add(blk + "attn_k.weight", {32, 16}),
          add(blk + "attn_v.weight", {32, 16});
      if (bias)
        add(blk + "attn_q.bias", {32}), add(blk + "attn_k.bias", {16}), add(blk + "attn_v.bias", {16});
      else
        add(blk + "attn_q_norm.weight", {8}), add(blk + "attn_k_norm.weight", {8});
      add(blk + "attn_output.weight", {32, 32});
      if (moe) {
        add(blk + "ffn_gate_inp.weight", {32, 4}), add(blk + "ffn_gate_exps.weight", {32, 16, 4});
        add(blk + "ffn_up_exps.weight", {32, 16, 4}), add(blk + "ffn_down_exps.weight", {16, 32, 4});
      } else {
        add(blk + "ffn_gate.weight", {32, 48}), add(blk + "ffn_up.weight", {32, 48});
        add(blk + "ffn_down.weight", {48, 32});
      }
      if (arch == "qwen2moe") {
        add(blk + "ffn_gate_inp_shexp.weight", {32}), add(blk + "ffn_gate_shexp.weight", {32, 24});
        add(blk + "ffn_up_shexp.weight", {32, 24}), add(blk + "ffn_down_shexp.weight", {24, 32});
      }
    }
  }

  void key(const std::string& name, int64_t value) { keys[arch + "." + name] = value; }
  void add(const std::string& name, std::vector<uint64_t> shape) {
    std::mt19937 random(static_cast<uint32_t>(tensors.size()) + 1);
    std::normal_distribution<float> normal(0.0f, 0.3f);
    size_t count = 1;
    for (const uint64_t side : shape) count *= side;
    Weights weights{std::move(shape), std::vector<float>(count)};
    for (float& x : weights.values) x = normal(random);
    tensors[name] = std::move(weights);
  }

  GgufImage image() const {
    GgufWriter writer;
    for (const auto& [name, value] : keys) {
      std::visit([&, key_name = name](const auto& v) { writer.set(key_name, v); }, value);
    }
    for (const auto& [name, weights] : tensors) writer.tensor_f32(name, weights.shape, weights.values);
    return writer.build();
  }
};

}  // namespace qwend::test
