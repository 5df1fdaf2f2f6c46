// From a file to a running engine: find the device, upload, plan the memory.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/device.h"
#include "engine/engine.h"
#include "engine/gguf/gguf.h"
#include "engine/memory_plan.h"
#include "engine/model/model_config.h"
#include "engine/run/step_executor.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

struct LoadSettings {
  DeviceChoice device;
  MemorySettings memory;
  int32_t threads = 0;           // of the CPU; 0: one a core
  int32_t max_batch_tokens = 0;  // of a step; 0: default_batch_tokens()
  int32_t max_queue = 256;
  bool prefix_cache = true;
};

struct LoadedModel {
  ModelInfo info;
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatTemplate chat_template;
  Device device;
  std::string device_name;    // as the backend tells it
  double upload_seconds = 0;  // of the weights
  MemoryPlan plan;
  EngineConfig engine_config;
  std::unique_ptr<StepExecutor> executor;
};

using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;
// In this order: the backend takes its workspace, the weights are uploaded, the KV cache gets what it may of
// the rest. Throws LoadError, DeviceError. The file may be closed afterwards.
LoadedModel load_model(const gguf::File& file, const LoadSettings& settings,
                       const LoadProgress& progress = {});

// The file's general.sampling.* keys, else what the family's authors recommend.
SamplingParams recommended_sampling(const gguf::File& file, const ChatTemplate& chat_template);

}  // namespace qwend
