// Who gets how much memory.
#include "engine/error.h"
#include "engine/memory_plan.h"
#include "tests/support/catch2.h"

using namespace qwend;
using Catch::Matchers::Contains;

namespace {

constexpr uint64_t kGB = 1'000'000'000;

// Qwen2.5-0.5B: 12,288 bytes a token in F16.
ModelConfig small_model() {
  ModelConfig config;
  config.num_layers = 24, config.num_kv_heads = 2, config.head_dim = 64, config.context_length = 32768;
  config.num_heads = 14, config.embedding = 896, config.ffn = 4864, config.vocab = 151936;
  return config;
}
constexpr uint64_t kBlockBytes = 12288 * kBlockSize;
constexpr int64_t kFullContext = 32768 / kBlockSize;  // blocks

MemoryUse gpu(uint64_t free) {
  return {.gpu = true, .total = 80 * kGB, .free = free, .weights = kGB, .workspace = kGB};
}

}  // namespace

TEST_CASE("memory plan: a GPU's fraction goes to keys and values, less what is taken already", "[engine]") {
  const MemoryPlan plan = plan_memory(small_model(), {}, gpu(78 * kGB));
  const uint64_t room = 72 * kGB - 2 * kGB;
  CHECK(plan.kv.dtype == KvDType::F16);
  CHECK(plan.kv_bytes <= room);
  CHECK(plan.kv_bytes + kBlockBytes > room);
  CHECK(plan.kv_bytes == static_cast<uint64_t>(plan.kv.num_blocks) * kBlockBytes);
  CHECK(plan.left == 78 * kGB - plan.kv_bytes);
  CHECK(plan.max_model_len == 32768);
  CHECK(plan.note.empty());

  const MemoryPlan precise =
      plan_memory(small_model(), {.kv_blocks = 4096, .kv_dtype = KvDType::F32}, gpu(78 * kGB));
  CHECK(precise.kv.dtype == KvDType::F32);
  CHECK(precise.kv_bytes == 4096 * 2 * kBlockBytes);

  const MemoryPlan half = plan_memory(small_model(), {.gpu_memory_fraction = 0.5}, gpu(78 * kGB));
  CHECK(half.kv_bytes <= 38 * kGB);
  CHECK(half.kv_bytes + kBlockBytes > 38 * kGB);
}

TEST_CASE("memory plan: a GPU takes no more than all sequences can fill", "[engine]") {
  const MemoryPlan plan = plan_memory(small_model(), {.max_seqs = 4}, gpu(78 * kGB));
  CHECK(plan.kv.num_blocks == 4 * kFullContext);
  const MemoryPlan shorter = plan_memory(small_model(), {.ctx = 1000, .max_seqs = 3}, gpu(78 * kGB));
  CHECK(shorter.kv.num_blocks == 3 * 63);  // 1,000 tokens need 63 blocks
}

TEST_CASE("memory plan: FP16 copies of weights leave the cache that was asked for", "[engine]") {
  const ModelConfig model = small_model();
  // One whole context, and the tenth of the device that is nobody's by default.
  const uint64_t one = free_beside_copies(model, {}, true, 80 * kGB);
  CHECK(one >= kFullContext * kBlockBytes + 8 * kGB - 1);
  CHECK(one <= kFullContext * kBlockBytes + 8 * kGB + 1);
  CHECK(free_beside_copies(model, {.gpu_memory_fraction = 0.5}, true, 80 * kGB) ==
        kFullContext * kBlockBytes + 40 * kGB);
  // Whoever says how large the cache shall be has counted what others need.
  CHECK(free_beside_copies(model, {.kv_blocks = 100'000}, true, 80 * kGB) == 100'000 * kBlockBytes);
  CHECK(free_beside_copies(model, {.kv_blocks = 100'000, .kv_dtype = KvDType::F32}, true, 80 * kGB) ==
        200'000 * kBlockBytes);
  const uint64_t bytes = free_beside_copies(model, {.kv_cache_bytes = 60 * kGB}, true, 80 * kGB);
  CHECK(bytes <= 60 * kGB);
  CHECK(bytes + kBlockBytes > 60 * kGB);
}

TEST_CASE("memory plan: other programs' memory counts into the fraction", "[engine]") {
  const MemoryPlan plan = plan_memory(small_model(), {}, gpu(10 * kGB));
  CHECK(plan.kv_bytes <= 2 * kGB);
  CHECK(plan.kv_bytes + kBlockBytes > 2 * kGB);
  // All of the fraction is taken: a clear line with the figures.
  CHECK_THROWS_WITH(plan_memory(small_model(), {}, gpu(5 * kGB)), Contains("32768 tokens needs 0.40 GB") &&
                                                                      Contains("free 5.00 GB of 80.00 GB") &&
                                                                      Contains("--gpu-memory-fraction"));
}

TEST_CASE("memory plan: what is asked for is what is taken, or an error", "[engine]") {
  const MemoryPlan blocks = plan_memory(small_model(), {.kv_blocks = 5000}, gpu(78 * kGB));
  CHECK(blocks.kv.num_blocks == 5000);
  const MemoryPlan bytes = plan_memory(small_model(), {.kv_cache_bytes = 77 * kGB}, gpu(78 * kGB));
  CHECK(bytes.kv.num_blocks ==
        static_cast<int32_t>(77 * kGB / kBlockBytes));  // beyond the fraction, as asked
  CHECK_THROWS_WITH(plan_memory(small_model(), {.kv_cache_bytes = 79 * kGB}, gpu(78 * kGB)),
                    Contains("79.00 GB was asked for") && Contains("78.00 GB"));
  CHECK_THROWS_AS(plan_memory(small_model(), {.ctx = 32768, .kv_blocks = 100}, gpu(78 * kGB)), LoadError);
}

TEST_CASE("memory plan: an unasked context is cut to fit, an asked one is not", "[engine]") {
  const MemoryPlan plan = plan_memory(small_model(), {.kv_blocks = 100}, gpu(78 * kGB));
  CHECK(plan.max_model_len == 1600);
  CHECK_THAT(plan.note, Contains("cut from 32768 to 1600"));
  CHECK_THROWS_AS(plan_memory(small_model(), {.kv_blocks = 15}, gpu(78 * kGB)),
                  LoadError);  // under 256 tokens
}

TEST_CASE(
    "memory plan: the CPU keeps F32 for unquantised weights and takes at most a quarter of what is free",
    "[engine]") {
  const MemoryPlan plenty = plan_memory(small_model(), {}, {.free = 200 * kGB});
  CHECK(plenty.kv.dtype == KvDType::F32);
  CHECK(plenty.kv.num_blocks == 4 * kFullContext);
  const MemoryPlan tight = plan_memory(small_model(), {}, {.free = 8 * kGB});
  CHECK(tight.kv_bytes <= 2 * kGB);
  CHECK(tight.kv_bytes + 2 * kBlockBytes > 2 * kGB);
  const MemoryPlan halves = plan_memory(small_model(), {.kv_dtype = KvDType::F16}, {.free = 8 * kGB});
  CHECK(halves.kv.dtype == KvDType::F16);
  const MemoryPlan quantised = plan_memory(small_model(), {}, {.quantised = true, .free = 200 * kGB});
  CHECK(quantised.kv.dtype == KvDType::F16);
}

TEST_CASE("memory plan: a GPU's workspace grows with the step and holds the logits", "[engine]") {
  const ModelConfig config = small_model();
  const uint64_t few = predicted_workspace(config, 512, 32, true),
                 many = predicted_workspace(config, 2048, 32, true);
  CHECK(many > few);
  CHECK(predicted_workspace(config, 512, 288, true) - few == uint64_t{256} * config.vocab * 4);
  CHECK(predicted_workspace(config, 512, 288, false) == predicted_workspace(config, 512, 32, false));
}
