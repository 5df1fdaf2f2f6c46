// Whole steps of tiny models on the device against the CPU: prompts, chunks, and decode steps that are
// recorded and replayed.
#include "engine/gguf/gguf.h"
#include "tests/cuda/parity.h"
#include "tests/support/model_harness.h"
#include "tests/support/tiny_model.h"

using namespace qwend;
using namespace qwend::test;

namespace {

constexpr int32_t kMaxTokens = 128, kVocab = 40;

ModelHarness::Options options(KvDType cache, bool cuda) {
  ModelHarness::Options o;
  o.max_tokens = kMaxTokens, o.num_blocks = 32, o.threads = 1;
  o.kv_dtype = cache, o.products = CpuProducts::Exact;
  if (cuda) {
    o.make_backend = [](int32_t max_tokens, int32_t rows) { return make_cuda_backend(0, max_tokens, rows); };
  }
  return o;
}

Sequence sequence(int32_t tokens, int32_t seed) {
  Sequence s;
  for (int32_t i = 0; i < tokens; ++i) s.tokens.push_back((i * i * 7 + i * 13 + seed) % kVocab);
  return s;
}

// A prompt in two chunks, the second beside another prompt, then five decode steps of both: the first of a
// shape runs, the second is recorded, the others are replayed. Then three of one alone, which may be one
// kernel each.
Rows run(ModelHarness& harness) {
  Sequence a = sequence(78, 3), b = sequence(22, 5);
  Rows all = harness.step(std::vector<Work>{{&a, 40, 1}});
  const auto add = [&](const Rows& some) { all.insert(all.end(), some.begin(), some.end()); };
  add(harness.step(std::vector<Work>{{&a, 30, 1}, {&b, 17, 2}}));
  for (int i = 0; i < 5; ++i) add(harness.step(std::vector<Work>{{&a, 1, 1}, {&b, 1, 1}}));
  for (int i = 0; i < 3; ++i) add(harness.step(std::vector<Work>{{&a, 1, 1}}));
  return all;
}

}  // namespace

TEST_CASE("steps of tiny models, recorded and replayed", "[cuda][backend][parity][sanitize]") {
  NEEDS_CUDA_DEVICE();
  const KvDType cache = GENERATE(KvDType::F16, KvDType::F32);
  for (const char* arch : {"qwen2", "qwen3", "qwen2moe"}) {
    INFO(arch << ", FP16 cache " << (cache == KvDType::F16));
    TinyModel model(arch, 64);
    if (model.arch.ends_with("moe")) model.key("expert_used_count", 4);  // no choice that rounding can turn
    const GgufImage image = model.image();
    const gguf::File file = gguf::File::from_memory(image.bytes, "tiny.gguf");
    ModelHarness cpu(file, options(cache, false)), cuda(file, options(cache, true));
    const Rows want = run(cpu), got = run(cuda);
    CHECK(want.size() == 17);
    CHECK(worst_row_error(got, want) < 1e-2);
    ModelHarness again(file, options(cache, true));
    const Rows same = run(again);
    for (size_t i = 0; i < got.size(); ++i) CHECK(same_bits(same[i], got[i]));
  }
}
