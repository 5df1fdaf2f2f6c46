#include "tests/support/verify_harness.h"

#include "engine/model/model_config.h"
#include "tests/support/catch2.h"
#include "tests/support/tiny_model.h"

namespace qwend::test {

using verify::Numerics;
using verify::Stage;

namespace {

struct Expectation {
  Fault fault;
  Stage stage;
  int32_t layer;
  const char* detail = "";  // part of what the report says
};

// In layer 1 of 2.
std::vector<Expectation> faults_of(const std::string& architecture, Numerics numerics) {
  constexpr int32_t layer = 1;
  const bool moe = architecture.ends_with("moe");
  const std::string output = "blk.1.attn_output.weight",
                    down = moe ? "blk.1.ffn_down_exps.weight" : "blk.1.ffn_down.weight";
  using K = FaultKind;
  std::vector<Expectation> faults{
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
      {{K::FlippedByte, layer, down}, Stage::Weights, layer, "device"},
  };
  // FP16 activations hide what a wrong eps makes of rows of a usual size.
  if (!moe && numerics != Numerics::Half) faults.push_back({{K::FfnNormEps}, Stage::FfnNorm, 0});
  if (architecture == "qwen2")
    faults.push_back({{K::MissingBias, layer}, Stage::QueryUnrotated, layer, "as without the bias"});
  return faults;
}

}  // namespace

TestedDevice cpu_device(CpuProducts products, KvDType kv) {
  const bool exact = products == CpuProducts::Exact;
  return {exact ? "CPU exact" : "CPU fast",
          [=] { return make_cpu_backend(verify::kMaxTokens, verify::kMaxTokens, 2, products); },
          kv == KvDType::F16 ? Numerics::Half
          : exact            ? Numerics::Exact
                             : Numerics::Fast,
          kv};
}

verify::Report check_model(const gguf::File& file, const TestedDevice& device, const Fault& fault,
                           const std::vector<int32_t>& lengths) {
  const auto vocab = static_cast<int32_t>(ModelConfig::from_gguf(file).vocab);
  verify::Settings settings;
  settings.numerics = device.numerics;
  settings.kv_dtype = device.kv_dtype;
  settings.threads = 2;
  settings.continuation = 6;
  for (const int32_t length : lengths) {
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

void check_faults(const std::string& architecture, uint64_t head_dim, const TestedDevice& device) {
  const GgufImage image = TinyModel(architecture, head_dim).image();
  const gguf::File file = gguf::File::from_memory(image.bytes, architecture + ".gguf");
  for (const Expectation& expected : faults_of(architecture, device.numerics)) {
    // More than a tile of attention, several blocks: what the faults need to show.
    const verify::Report report = check_model(file, device, expected.fault, {70, 30, 17});
    INFO(architecture << " on " << device.name << ", fault " << static_cast<int>(expected.fault.kind)
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
