#include "tests/support/verify_harness.h"

#include "engine/model/model_config.h"
#include "tests/support/catch2.h"

namespace qwend::test {

using verify::Numerics;
using verify::Stage;

TestedDevice cpu_device(CpuProducts products, KvDType kv) {
  const bool exact = products == CpuProducts::Exact;
  return {exact ? "CPU exact" : "CPU fast",
          [=] { return make_cpu_backend(verify::kMaxTokens, verify::kMaxTokens, 2, products); },
          kv == KvDType::F16 ? Numerics::Half
          : exact            ? Numerics::Exact
                             : Numerics::Fast,
          kv};
}

verify::Report check_model(const gguf::File& file, const TestedDevice& device, const Fault& fault) {
  const auto vocab = static_cast<int32_t>(ModelConfig::from_gguf(file).vocab);
  verify::Settings settings;
  settings.numerics = device.numerics;
  settings.kv_dtype = device.kv_dtype;
  settings.threads = 2;
  settings.continuation = 6;
  for (const int32_t length : {205, 30, 17}) {
    std::vector<int32_t>& prompt = settings.prompts.emplace_back();
    for (int32_t i = 0; i < length; ++i) prompt.push_back((i * i * 7 + i * 13 + length) % vocab);
  }
  std::unique_ptr<Backend> backend = device.make();
  if (fault.kind != FaultKind::None) backend = std::make_unique<FaultyBackend>(std::move(backend), fault);
  return verify::run(file, *backend, settings);
}

std::string first_failure(const verify::Report& report) {
  const verify::Outcome* failure = report.first_failure();
  if (failure == nullptr) return "none";
  return std::string(info(failure->stage).title) + ", " + text(failure->place) + ": error " +
         std::to_string(failure->error) + ", " + failure->detail;
}

std::vector<Expectation> common_faults(int32_t layer) {
  const std::string blk = "blk." + std::to_string(layer) + ".", output = blk + "attn_output.weight";
  using K = FaultKind;
  return {
      {{K::TransposedWeight, layer, output}, Stage::Weights, layer, "transposed"},
      {{K::TransposedProduct, layer, output}, Stage::Projection, layer},
      {{K::InterleavedRope, layer}, Stage::Query, layer, "pairs (2i, 2i+1)"},
      {{K::SlotOffByOne, layer}, Stage::KvSlots, layer, "was not written"},
      {{K::SwappedKvHeads, layer}, Stage::KeyUnrotated, layer, "it is head "},
      {{K::SwappedKeyValue, layer}, Stage::KeyUnrotated, layer, "it is V"},
      {{K::NormEps, layer}, Stage::AttnNorm, layer, "as with eps 1e-05 instead of 1e-06"},
      {{K::GqaModulo, layer}, Stage::AttnWeights, layer, "as with the keys of KV head"},
      {{K::SeesNext, layer}, Stage::Beyond, layer, "no position up to this one"},
      {{K::MissesSelf, layer}, Stage::AttnWeights, layer},
      {{K::ScoreScale, layer}, Stage::AttnWeights, layer},
      {{K::Overwrites, layer}, Stage::Projection, 0},
      {{K::LoneStep, layer}, Stage::Batch, -1, "alone"},
      {{K::GqaModulo, layer, "", true}, Stage::AttnWeights, layer, "one token a sequence"},
      {{K::SlotOffByOne, layer, "", true}, Stage::KvSlots, layer, "one token a sequence"},
  };
}

void check_faults(const gguf::File& file, const TestedDevice& device,
                  const std::vector<Expectation>& expectations) {
  for (const Expectation& expected : expectations) {
    const verify::Report report = check_model(file, device, expected.fault);
    INFO(file.path() << " on " << device.name << ", fault " << static_cast<int>(expected.fault.kind)
                     << " expected in " << info(expected.stage).title
                     << "; found: " << first_failure(report));
    REQUIRE_FALSE(report.passed());
    const verify::Outcome& failure = *report.first_failure();
    CHECK(info(failure.stage).title == std::string(info(expected.stage).title));
    CHECK(failure.place.layer == expected.layer);
    CHECK(failure.detail.find(expected.detail) != std::string::npos);
  }
}

}  // namespace qwend::test
