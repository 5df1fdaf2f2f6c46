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

// Three sequences, one of more than 200 tokens; the fault, if any, around the device.
verify::Report check_model(const gguf::File& file, const TestedDevice& device, const Fault& fault = {});

// All that a report says about its first failure; "none".
std::string first_failure(const verify::Report& report);

struct Expectation {
  Fault fault;
  verify::Stage stage;
  int32_t layer;
  const char* detail = "";  // part of what the report says
};
// Faults that show in any model with more than one KV head whose attention output is square. layer: not the
// first.
std::vector<Expectation> common_faults(int32_t layer);
// Plants each fault and requires (Catch2) that the first failure is where it was expected.
void check_faults(const gguf::File& file, const TestedDevice& device,
                  const std::vector<Expectation>& expectations);

}  // namespace qwend::test
