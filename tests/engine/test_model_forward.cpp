// The forward pass of small models in ways that the reference models don't cover.
#include <cmath>

#include "engine/model/qwen_model.h"
#include "engine/run/step_executor.h"
#include "tests/support/catch2.h"
#include "tests/support/model_harness.h"
#include "tests/support/tiny_model.h"

using namespace qwend;
using namespace qwend::test;

namespace {

std::vector<std::vector<float>> all_logits(const TinyModel& model, KvDType kv = KvDType::F32) {
  const GgufImage image = model.image();
  const gguf::File file = gguf::File::from_memory(image.bytes, "tiny.gguf");
  ModelHarness::Options options;
  options.max_tokens = 32, options.num_blocks = 8, options.threads = 1, options.kv_dtype = kv;
  ModelHarness harness(file, options);
  Sequence sequence;
  for (int32_t i = 0; i < 20; ++i) sequence.tokens.push_back(i * 7 % 40);
  const Work work{&sequence, 20, 20};
  return harness.step({&work, 1});
}

// Puts parts one after the other: rows of each for a matrix; with experts, expert by expert.
void fuse(TinyModel& model, const std::string& name, const std::vector<std::string>& parts, size_t experts) {
  TinyModel::Weights fused;
  for (size_t e = 0; e < experts; ++e) {
    for (const std::string& part : parts) {
      const std::vector<float>& values = model.tensors.at(part).values;
      const auto size = static_cast<std::ptrdiff_t>(values.size() / experts);
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(e) * size;
      fused.values.insert(fused.values.end(), begin, begin + size);
    }
  }
  fused.shape = model.tensors.at(parts[0]).shape;
  size_t side = fused.shape.size() == 1 ? 0 : 1;
  fused.shape[side] = 0;
  for (const std::string& part : parts) fused.shape[side] += model.tensors.at(part).shape[side];
  for (const std::string& part : parts) model.tensors.erase(part);
  model.tensors[name] = std::move(fused);
}

}  // namespace

TEST_CASE("fused tensors give the same logits as separate ones", "[engine][model]") {
  for (const char* arch : {"qwen2", "qwen3moe"}) {
    INFO(arch);
    TinyModel model(arch);
    const auto separate = all_logits(model);
    for (const std::string blk : {"blk.0.", "blk.1."}) {
      fuse(model, blk + "attn_qkv.weight",
           {blk + "attn_q.weight", blk + "attn_k.weight", blk + "attn_v.weight"}, 1);
      if (model.arch == "qwen2") {
        fuse(model, blk + "attn_qkv.bias", {blk + "attn_q.bias", blk + "attn_k.bias", blk + "attn_v.bias"},
             1);
      } else {
        fuse(model, blk + "ffn_gate_up_exps.weight",
             {blk + "ffn_gate_exps.weight", blk + "ffn_up_exps.weight"}, 4);
      }
    }
    CHECK(all_logits(model) == separate);
  }
}

TEST_CASE("activations with outliers of 1e4 and more stay finite", "[engine][model]") {
  for (const char* arch : {"qwen2", "qwen2moe", "qwen3", "qwen3moe"}) {
    TinyModel model(arch);
    for (auto& [name, weights] : model.tensors) {
      // One channel of the residual stream and, through it, of every product is far larger than the rest.
      if (name == "token_embd.weight") {
        for (size_t row = 0; row < 40; ++row) weights.values[row * 32 + 5] = 5e4f;
      }
      if (name.find("_norm.weight") != std::string::npos) weights.values[5] = 300.0f;
      if (name.find("down") != std::string::npos) {
        for (float& x : weights.values) x *= 1e3f;
      }
    }
    for (const KvDType kv : {KvDType::F32, KvDType::F16}) {
      INFO(arch << (kv == KvDType::F16 ? ", F16 cache" : ", F32 cache"));
      for (const auto& row : all_logits(model, kv)) {
        for (const float x : row) REQUIRE(std::isfinite(x));
      }
    }
  }
}

// From 24 tokens a thread on each takes its own sequences through all layers.
TEST_CASE("many sequences dealt out to the threads get the bits that each gets alone", "[engine][model]") {
  for (const char* arch : {"qwen2", "qwen2moe", "qwen3"}) {
    const GgufImage image = TinyModel(arch).image();
    const gguf::File file = gguf::File::from_memory(image.bytes, "tiny.gguf");
    for (const int32_t threads : {2, 3}) {
      INFO(arch << ", " << threads << " threads");
      ModelHarness::Options options;
      options.threads = threads;
      ModelHarness together(file, options);
      options.threads = 1;
      ModelHarness alone(file, options);
      std::vector<Sequence> sequences(80);
      for (size_t s = 0; s < sequences.size(); ++s) {
        for (size_t i = 0; i < 12 + s % 40; ++i)
          sequences[s].tokens.push_back(static_cast<int32_t>(s * 5 + i * 7) % 40);
      }
      std::vector<Sequence> copies = sequences;
      // Prompts in steps of 4 sequences; then decode steps; in the last one a longer chunk among the tokens,
      // and one sequence whose logits nobody wants.
      const auto run = [&](ModelHarness& harness, std::vector<Sequence>& all, size_t at_once) {
        std::vector<std::vector<float>> logits;
        const auto step = [&](size_t first, size_t last, bool prompt, bool final) {
          std::vector<Work> work;
          for (size_t s = first; s < last; ++s) {
            const auto left = static_cast<int32_t>(all[s].tokens.size()) - all[s].computed;
            const bool longer = final && s == 50;
            const int32_t keep = s == 50 ? 7 : 3;
            const int32_t count = prompt ? left - keep : longer ? left : 1;
            work.push_back({&all[s], count, final && s == 20 ? 0 : 1});
          }
          for (auto& row : harness.step(work)) logits.push_back(std::move(row));
        };
        for (size_t s = 0; s < all.size(); s += 4) step(s, s + 4, true, false);
        for (const bool final : {false, false, true}) {
          for (size_t s = 0; s < all.size(); s += at_once)
            step(s, std::min(all.size(), s + at_once), false, final);
        }
        return logits;
      };
      const auto expected = run(alone, copies, 1), got = run(together, sequences, sequences.size());
      REQUIRE(got.size() == expected.size());
      CHECK(got == expected);
    }
  }
}

TEST_CASE("tokens after a copied block get the same bits", "[engine][model]") {
  const TinyModel model("qwen3");
  const auto expected = all_logits(model);
  const GgufImage image = model.image();
  const gguf::File file = gguf::File::from_memory(image.bytes, "tiny.gguf");
  std::unique_ptr<Backend> backend = make_cpu_backend(32, 4, 2);
  QwenModel qwen(file, ModelConfig::from_gguf(file), *backend);
  KvCachePtr kv = backend->allocate_kv(kv_cache_spec(qwen.config(), 5, 16, KvDType::F32));
  // `copies` first, then tokens `begin` .. 20 on `blocks`; logits of the last one.
  const auto run = [&](int32_t begin, const std::vector<int32_t>& blocks,
                       const std::vector<BlockCopy>& copies) {
    std::vector<int32_t> tokens, positions, slots;
    for (int32_t i = begin; i < 20; ++i) {
      tokens.push_back(i * 7 % 40), positions.push_back(i);
      slots.push_back(blocks[static_cast<size_t>(i / 16)] * 16 + i % 16);
    }
    const std::vector<int32_t> cu_seqlens{0, 20 - begin}, context{20}, rows{20 - begin - 1};
    StepInput input{tokens, positions, slots, cu_seqlens, context, blocks, 2, rows};
    input.block_copies = copies;
    qwen.forward(input, *kv);
    return backend->read_logits(0);
  };
  CHECK(run(0, {0, 1}, {}) == expected[19]);
  CHECK(run(18, {0, 3}, {{1, 3}}) == expected[19]);         // its first two tokens are used
  CHECK(run(7, {4, 1}, {{0, 2}, {2, 4}}) == expected[19]);  // one after the other
}

TEST_CASE("the model runner runs a step and samples", "[engine][model]") {
  const TinyModel model("qwen3");
  const auto expected = all_logits(model);
  const GgufImage image = model.image();
  const gguf::File file = gguf::File::from_memory(image.bytes, "tiny.gguf");
  std::unique_ptr<Backend> backend = make_cpu_backend(32, 4, 2);
  auto qwen = std::make_unique<QwenModel>(file, ModelConfig::from_gguf(file), *backend);
  KvCachePtr kv = backend->allocate_kv(kv_cache_spec(qwen->config(), 2, 16, KvDType::F32));
  const auto runner = make_model_runner(std::move(backend), std::move(qwen), std::move(kv));
  CHECK(runner->vocab_size() == 40);
  std::vector<int32_t> tokens, positions;
  for (int32_t i = 0; i < 20; ++i) tokens.push_back(i * 7 % 40), positions.push_back(i);
  const std::vector<int32_t> cu_seqlens{0, 20}, context{20}, blocks{0, 1}, rows{3, 19};
  std::vector<SamplingRow> sampling(2);
  sampling[0].temperature = sampling[1].temperature = 0.0f;
  runner->launch({tokens, positions, positions, cu_seqlens, context, blocks, 2, rows}, sampling);
  const auto drawn = runner->collect();
  REQUIRE(drawn.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const std::vector<float>& logits = expected[static_cast<size_t>(rows[i])];
    CHECK(drawn[i].token == std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
}
