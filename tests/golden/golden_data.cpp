#include "tests/golden/golden_data.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/reference_data.h"

namespace qwend::test {

namespace {

GoldenStep read_step(const nlohmann::json& json) {
  GoldenStep step{json.at("token"), json.at("logprob"), json.at("margin"), {}};
  if (!json.at("top").is_null()) {
    for (const auto& entry : json.at("top")) step.top.emplace_back(entry.at(0), entry.at(1));
  }
  return step;
}

}  // namespace

std::vector<GoldenVariant> load_goldens() {
  namespace fs = std::filesystem;
  const fs::path folder = reference_data() / "goldens";
  std::vector<GoldenVariant> variants;
  if (!fs::is_directory(folder)) return variants;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().string().ends_with(".goldens.json")) continue;
    const auto json = nlohmann::json::parse(std::ifstream(entry.path()));
    for (const auto& [format, body] : json.at("variants").items()) {
      GoldenVariant variant{json.at("model"), format, {}, {}};
      variant.path = (folder / (variant.model + "-" + format + ".gguf")).string();
      for (const auto& one : body.at("cases")) {
        GoldenCase& golden = variant.cases.emplace_back();
        golden.prompt = one.at("prompt").get<std::vector<int32_t>>();
        for (const auto& step : one.at("steps")) golden.steps.push_back(read_step(step));
      }
      variants.push_back(std::move(variant));
    }
  }
  std::sort(variants.begin(), variants.end(), [](const GoldenVariant& a, const GoldenVariant& b) {
    return std::pair(a.model, a.format) < std::pair(b.model, b.format);
  });
  return variants;
}

}  // namespace qwend::test
