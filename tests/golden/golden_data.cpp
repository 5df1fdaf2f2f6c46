#include "tests/golden/golden_data.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/catch2.h"
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

void read_folder(const std::filesystem::path& folder, std::vector<GoldenVariant>& variants) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
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
}

}  // namespace

std::vector<GoldenVariant> load_goldens() {
  std::vector<GoldenVariant> variants;
  const std::filesystem::path committed = source_folder() / "tests" / "golden" / "data";
  if (!std::filesystem::is_directory(committed))
    FAIL("there is no " << committed.string() << ": QWEND_SOURCE_DIR has to name the checkout");
  read_folder(committed, variants);
  const std::filesystem::path more = reference_data() / "goldens";
  if (std::filesystem::is_directory(more))
    read_folder(more, variants);
  else
    WARN("only the committed models: no reference data at " << more.string());
  std::sort(variants.begin(), variants.end(), [](const GoldenVariant& a, const GoldenVariant& b) {
    return std::pair(a.model, a.format) < std::pair(b.model, b.format);
  });
  return variants;
}

}  // namespace qwend::test
