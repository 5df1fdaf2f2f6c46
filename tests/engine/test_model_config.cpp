// What a sound file gives, and what each unsound one is refused for.
#include <cmath>
#include <limits>

#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"
#include "tests/support/catch2.h"
#include "tests/support/tiny_model.h"

using namespace qwend;
using namespace qwend::test;

namespace {

ModelConfig read(const TinyModel& model) {
  const GgufImage image = model.image();
  return ModelConfig::from_gguf(gguf::File::from_memory(image.bytes, "tiny.gguf"));
}

// The message of the LoadError, or "" when there is none.
std::string refusal(const TinyModel& model) {
  try {
    read(model);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("each architecture is read", "[engine][model]") {
  for (const char* arch : {"qwen2", "qwen2moe", "qwen3", "qwen3moe"}) {
    INFO(arch);
    const ModelConfig c = read(TinyModel(arch));
    CHECK(c.arch->name == arch);
    CHECK(c.num_layers == 2);
    CHECK(c.num_heads == 4);
    CHECK(c.num_kv_heads == 2);
    CHECK(c.head_dim == 8);
    CHECK(c.vocab == 40);
    CHECK(c.tied_output);
    CHECK(c.rope.rotary_dim == 8);
    if (c.arch->moe) CHECK(c.moe.num_used == 2);
    CHECK(c.moe.renormalise == (c.arch->name == "qwen3moe"));
    CHECK(c.shared_ffn == (c.arch->shared_expert ? 24 : 0));
  }
  TinyModel untied("qwen3");
  untied.add("output.weight", {32, 40});
  CHECK(!read(untied).tied_output);
}

TEST_CASE("unknown architectures are named", "[engine][model]") {
  TinyModel model("qwen3");
  model.keys["general.architecture"] = std::string("llama");
  const std::string text = refusal(model);
  CHECK(contains(text, "\"llama\""));
  CHECK(contains(text, "qwen2, qwen2moe, qwen3, qwen3moe"));
}

TEST_CASE("metadata out of range is refused by key", "[engine][model]") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const std::pair<const char*, std::variant<int64_t, double, std::string>> bad[] = {
      {"block_count", int64_t{0}},
      {"block_count", int64_t{1} << 40},
      {"context_length", int64_t{1} << 40},
      {"context_length", int64_t{-1}},
      {"embedding_length", int64_t{0}},
      {"attention.head_count", int64_t{0}},
      {"attention.head_count", int64_t{5}},
      {"attention.head_count_kv", int64_t{0}},
      {"attention.head_count_kv", int64_t{3}},
      {"attention.key_length", int64_t{0}},
      {"attention.value_length", int64_t{16}},
      {"attention.layer_norm_rms_epsilon", nan},
      {"attention.layer_norm_rms_epsilon", 0.0},
      {"attention.layer_norm_rms_epsilon", -1e-6},
      {"rope.freq_base", inf},
      {"rope.freq_base", nan},
      {"rope.freq_base", 0.5},
      {"rope.dimension_count", int64_t{7}},
      {"rope.dimension_count", int64_t{10}},
      {"rope.scaling.type", std::string("su")},
      {"rope.scaling.factor", 0.0},
      {"expert_count", int64_t{0}},
      {"expert_used_count", int64_t{5}},
      {"expert_used_count", int64_t{0}},
      {"block_count", std::string("two")},
  };
  for (const auto& [key, value] : bad) {
    INFO(key);
    TinyModel model("qwen3moe");
    model.keys["qwen3moe." + std::string(key)] = value;
    const std::string text = refusal(model);
    INFO(text);
    CHECK(contains(text, "qwen3moe."));
    CHECK(contains(text, std::string(key).substr(0, 14)));
    CHECK(!contains(text, "\n"));
  }
}

TEST_CASE("all tensor mismatches are listed in one message", "[engine][model]") {
  TinyModel model("qwen2");
  model.tensors.erase("blk.1.attn_k.bias");
  model.tensors.erase("blk.0.ffn_norm.weight");
  model.add("blk.1.ffn_up.weight", {32, 49});
  model.add("blk.0.attn_q_norm.weight", {8});
  const std::string text = refusal(model);
  CHECK(contains(text, "blk.1.attn_k.bias is missing"));
  CHECK(contains(text, "blk.0.ffn_norm.weight is missing"));
  CHECK(contains(text, "blk.1.ffn_up.weight has shape [32, 49], the metadata asks for [32, 48]"));
  CHECK(contains(text, "blk.0.attn_q_norm.weight is not part of qwen2"));

  TinyModel headless("qwen3");
  headless.tensors.erase("token_embd.weight");
  CHECK(contains(refusal(headless), "token_embd.weight is missing"));
}

TEST_CASE("RoPE tables", "[engine][model]") {
  RopeConfig rope{1e6, 128, RopeScaling::None, 1.0, 32768};
  const RopeTable plain = make_rope_table(rope);
  REQUIRE(plain.inv_freq.size() == 64);
  CHECK(plain.inv_freq[0] == 1.0);
  CHECK(plain.inv_freq[32] == Approx(1e-3));
  CHECK(plain.magnitude == 1.0f);

  rope.scaling = RopeScaling::Linear;
  rope.factor = 2.0;
  CHECK(make_rope_table(rope).inv_freq[32] == Approx(0.5e-3));

  // n 128, base 1e6, original context 32768, factor 4: pairs up to 23 keep their frequency, from 40 on a
  // quarter.
  rope.scaling = RopeScaling::Yarn;
  rope.factor = 4.0;
  const RopeTable yarn = make_rope_table(rope);
  CHECK(yarn.magnitude == Approx(1.138629).epsilon(1e-6));
  for (size_t i = 0; i < 64; ++i) {
    const double ratio = yarn.inv_freq[i] / plain.inv_freq[i];
    if (i <= 23) CHECK(ratio == Approx(1.0));
    if (i > 23 && i < 40) CHECK(ratio == Approx(1.0 - 0.75 * (static_cast<double>(i) - 23) / 17));
    if (i >= 40) CHECK(ratio == Approx(0.25));
  }
}
