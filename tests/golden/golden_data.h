// Reference log-probabilities of small models, and where their files are.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace qwend::test {

struct GoldenStep {
  int32_t token = 0;
  float logprob = 0.0f;
  float margin = 0.0f;                         // to the second best
  std::vector<std::pair<int32_t, float>> top;  // the 20 best; empty beyond the first steps
};

struct GoldenCase {
  std::vector<int32_t> prompt;
  std::vector<GoldenStep> steps;
};

struct GoldenVariant {
  std::string model, format;  // "qwen3-qknorm", "q8_0"
  std::string path;           // of the GGUF file
  std::vector<GoldenCase> cases;
};

// The committed models (data/, by make_qwen2moe.py) and those of the reference data, by name. Through Catch2
// it says so when the latter are not there, and fails when the former are not.
std::vector<GoldenVariant> load_goldens();

}  // namespace qwend::test
