// The self-check: runs prompts through a device and through the FP32 CPU reference side by side, op by op,
// and names the first thing that differs. Only the device's real ops are used: there is no debug path in any
// backend.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "engine/gguf/gguf.h"
#include "engine/verify/report.h"
#include "kernels/backend.h"

namespace qwend::verify {

// Tokens of a step, and rows of logits, that the device must have room for.
inline constexpr int32_t kMaxTokens = 512;

struct Settings {
  Numerics numerics = Numerics::Exact;        // of the device
  KvDType kv_dtype = KvDType::F32;            // of the device's cache; the reference's is FP32
  int32_t threads = 0;                        // of the reference; 0: one a core
  bool all_weights = true;                    // false: a sample of each tensor's rows
  std::vector<std::vector<int32_t>> prompts;  // each at least one token; cut to what fits, see Report::notes
  int32_t continuation = 16;                  // greedy tokens after each prompt
  std::function<void(const char* what, uint64_t done, uint64_t total)> progress;
};

// The texts that are used when nobody brings one: several languages and code. The first is the longest.
std::vector<std::string_view> default_prompts();

// Throws LoadError on a file that is not a sound model. Memory beyond the file's mapping and the device: one
// layer in FP32 (twice its largest matrix while it is expanded), and two copies of the logits of all
// positions.
Report run(const gguf::File& file, Backend& device, const Settings& settings);

}  // namespace qwend::verify
