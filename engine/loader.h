// From a file to a running engine: open, check, upload, plan the memory.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/gguf/gguf.h"
#include "engine/model/model_config.h"
#include "engine/run/step_executor.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

// The CPU keeps keys and values as they were computed. F16 halves the cache and moves log-probabilities by up to
// 1.3e-2 on the reference models (F32: 5e-4).
inline constexpr KvDType kDefaultKvDType = KvDType::F32;

struct LoadSettings {
  int32_t threads = 0;  // 0: one a core
  int32_t ctx = 0;      // 0: the trained length, at most 32,768
  int32_t max_seqs = 256;
  int32_t max_batch_tokens = 512;
  int32_t max_queue = 256;
  uint64_t kv_cache_bytes = 0;  // 0: kv_blocks, or by free memory
  int32_t kv_blocks = 0;
  std::optional<KvDType> kv_dtype;  // none: kDefaultKvDType
  bool prefix_cache = true;
};

// How the memory is divided; printed at start and by `qwend inspect`.
struct MemoryPlan {
  uint64_t weight_bytes = 0;
  uint64_t kv_bytes = 0;
  KvCacheSpec kv;
  int32_t max_model_len = 0;
  std::string note;  // e.g. that the context was cut to fit; empty when all is as asked
};

// Decides the KV pool. Throws LoadError when not even one sequence of the asked length fits.
MemoryPlan plan_memory(const ModelConfig& config, uint64_t weight_bytes, const LoadSettings& settings,
                       uint64_t free_bytes);
uint64_t free_memory_bytes();  // MemAvailable, or the cgroup's limit where that is lower

struct LoadedModel {
  ModelInfo info;
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatTemplate chat_template;
  MemoryPlan plan;
  EngineConfig engine_config;
  std::unique_ptr<StepExecutor> executor;
};

using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;
// Throws LoadError. The file may be closed afterwards.
LoadedModel load_model(const gguf::File& file, const LoadSettings& settings,
                       const LoadProgress& progress = {});

// The file's general.sampling.* keys, else what the family's authors recommend.
SamplingParams recommended_sampling(const gguf::File& file, const ChatTemplate& chat_template);

}  // namespace qwend
