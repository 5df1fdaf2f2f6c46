#include <cmath>
#include <string>

#include "engine/loader.h"

namespace qwend {
namespace {

// The values in the authors' model cards.
SamplingParams of_family(ChatFamily family) {
  SamplingParams p;
  p.temperature = 0.7f, p.top_p = 0.8f, p.top_k = 20;
  switch (family) {
    case ChatFamily::Qwen25:
    case ChatFamily::Qwen3Coder: p.repetition_penalty = 1.05f; break;
    case ChatFamily::Qwen3:
    case ChatFamily::Qwen3Thinking:
    case ChatFamily::QwQ: p.temperature = 0.6f, p.top_p = 0.95f; break;
    case ChatFamily::DeepSeekR1: p.temperature = 0.6f, p.top_p = 0.95f, p.top_k = 0; break;
    case ChatFamily::Qwen35: p.temperature = 1.0f, p.top_p = 0.95f, p.presence_penalty = 1.5f; break;
    case ChatFamily::Qwen3Instruct: break;
    case ChatFamily::ChatML: p.temperature = 1.0f, p.top_p = 1.0f, p.top_k = 0; break;
  }
  return p;
}

// A float key that must lie in [low, high] when it is there.
void read(const gguf::File& file, const char* name, float low, float high, float& target) {
  const std::string key = std::string("general.sampling.") + name;
  const auto value = file.find_float(key);
  if (!value) return;
  if (!(*value >= low && *value <= high)) {
    throw LoadError(file.path() + ": metadata " + key + ": got " + std::to_string(*value) + ", allowed " +
                    std::to_string(low) + " to " + std::to_string(high));
  }
  target = static_cast<float>(*value);
}

}  // namespace

SamplingParams recommended_sampling(const gguf::File& file, const ChatTemplate& chat_template) {
  SamplingParams p = of_family(chat_template.family());
  read(file, "temp", 0.0f, 2.0f, p.temperature);
  read(file, "top_p", 1e-6f, 1.0f, p.top_p);
  read(file, "min_p", 0.0f, 1.0f, p.min_p);
  read(file, "penalty_repeat", 0.01f, 2.0f, p.repetition_penalty);
  if (const auto top_k = file.find_int("general.sampling.top_k")) {
    if (*top_k < 0 || *top_k > (1 << 20)) {
      throw LoadError(file.path() + ": metadata general.sampling.top_k: got " + std::to_string(*top_k) +
                      ", allowed 0 to 1048576");
    }
    p.top_k = static_cast<int32_t>(*top_k);
  }
  return p;
}

}  // namespace qwend
