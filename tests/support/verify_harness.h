// Runs the self-check on tokens of its own and compares what it finds with what has been planted.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/verify/verify.h"
#include "tests/support/faulty_backend.h"

namespace qwend::test {

struct TestedDevice {
  const char* name;
  std::function<std::unique_ptr<Backend>()> make;  // for steps of verify::kMaxTokens tokens and logit rows
  verify::Numerics numerics;
  KvDType kv_dtype;
};
TestedDevice cpu_device(CpuProducts products, KvDType kv = KvDType::F32);

// Prompts of these lengths; the fault, if any, around the device.
verify::Report check_model(const gguf::File& file, const TestedDevice& device, const Fault& fault = {},
                           const std::vector<int32_t>& lengths = {205, 30, 17});

// All that a report says about its first failure; "none".
std::string first_failure(const verify::Report& report);

// Plants one fault after the other in a TinyModel of the architecture and requires (Catch2) that the first
// failure is where it was planted.
void check_faults(const std::string& architecture, uint64_t head_dim, const TestedDevice& device);

}  // namespace qwend::test
