// A complete model of a few kilobytes, in F32, for each architecture. Tests change a key or a tensor, then
// write it.
#pragma once
#include <cmath>
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
  float spread = 0.3f;  // of the matrices that add() makes

  // 2 layers, 4 heads over 2 KV heads, D 32, F 48, V 40; 4 experts of 16, 2 used; with heads wider than 8 all
  // widths but V grow alike. GPUs serve heads of 64, 128 and 256.
  explicit TinyModel(const std::string& architecture, uint64_t head_dim = 8) : arch(architecture) {
    const bool moe = arch.ends_with("moe"), bias = arch.starts_with("qwen2");
    const uint64_t width = 4 * head_dim, kv_width = 2 * head_dim, ffn = 6 * head_dim,
                   expert_ffn = 2 * head_dim, shared_ffn = 3 * head_dim;
    spread = 0.3f * std::pow(8.0f / static_cast<float>(head_dim), 0.25f);
    keys["general.architecture"] = arch;
    key("block_count", 2), key("context_length", 512), key("embedding_length", width),
        key("feed_forward_length", ffn);
    key("attention.head_count", 4), key("attention.head_count_kv", 2);
    keys[arch + ".attention.layer_norm_rms_epsilon"] = 1e-6;
    keys[arch + ".rope.freq_base"] = 1e6;
    if (moe)
      key("expert_count", 4), key("expert_used_count", 2), key("expert_feed_forward_length", expert_ffn);
    if (arch == "qwen2moe") key("expert_shared_feed_forward_length", shared_ffn);
    add("token_embd.weight", {width, 40}), add("output_norm.weight", {width});
    for (int layer = 0; layer < 2; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      add(blk + "attn_norm.weight", {width}), add(blk + "ffn_norm.weight", {width});
      add(blk + "attn_q.weight", {width, width}), add(blk + "attn_k.weight", {width, kv_width}),
          add(blk + "attn_v.weight", {width, kv_width});
      if (bias)
        add(blk + "attn_q.bias", {width}), add(blk + "attn_k.bias", {kv_width}),
            add(blk + "attn_v.bias", {kv_width});
      else
        add(blk + "attn_q_norm.weight", {head_dim}), add(blk + "attn_k_norm.weight", {head_dim});
      add(blk + "attn_output.weight", {width, width});
      if (moe) {
        add(blk + "ffn_gate_inp.weight", {width, 4}),
            add(blk + "ffn_gate_exps.weight", {width, expert_ffn, 4});
        add(blk + "ffn_up_exps.weight", {width, expert_ffn, 4}),
            add(blk + "ffn_down_exps.weight", {expert_ffn, width, 4});
      } else {
        add(blk + "ffn_gate.weight", {width, ffn}), add(blk + "ffn_up.weight", {width, ffn});
        add(blk + "ffn_down.weight", {ffn, width});
      }
      if (arch == "qwen2moe") {
        add(blk + "ffn_gate_inp_shexp.weight", {width}),
            add(blk + "ffn_gate_shexp.weight", {width, shared_ffn});
        add(blk + "ffn_up_shexp.weight", {width, shared_ffn}),
            add(blk + "ffn_down_shexp.weight", {shared_ffn, width});
      }
    }
  }

  void key(const std::string& name, uint64_t value) { keys[arch + "." + name] = static_cast<int64_t>(value); }
  void add(const std::string& name, std::vector<uint64_t> shape) {
    std::mt19937 random(static_cast<uint32_t>(tensors.size()) + 1);
    std::normal_distribution<float> normal(0.0f, shape.size() == 1 ? 0.3f : spread);
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
