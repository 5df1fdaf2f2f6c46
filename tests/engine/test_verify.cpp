// The self-check passes on sound backends, and names the place of each fault that is planted.
#include <set>

#include "engine/verify/verify.h"
#include "tests/support/catch2.h"
#include "tests/support/tiny_model.h"
#include "tests/support/verify_harness.h"

using namespace qwend;
using namespace qwend::test;
using verify::Stage;

namespace {

gguf::File open(const GgufImage& image, const std::string& name) {
  return gguf::File::from_memory(image.bytes, name + ".gguf");
}

}  // namespace

TEST_CASE("the self-check passes on a sound CPU backend", "[engine][verify]") {
  for (const char* arch : {"qwen2", "qwen2moe", "qwen3", "qwen3moe"}) {
    const GgufImage image = TinyModel(arch).image();
    const gguf::File file = open(image, arch);
    for (const TestedDevice& device : {cpu_device(CpuProducts::Fast), cpu_device(CpuProducts::Exact),
                                       cpu_device(CpuProducts::Fast, KvDType::F16)}) {
      const verify::Report report = check_model(file, device);
      INFO(arch << " on " << device.name << ": " << first_failure(report));
      CHECK(report.passed());
      CHECK(report.longest_sequence > 200);
    }
  }
}

TEST_CASE("the self-check looks at every stage", "[engine][verify]") {
  std::set<Stage> seen;
  for (const char* arch : {"qwen2", "qwen3moe"}) {
    const GgufImage image = TinyModel(arch).image();
    for (const verify::Outcome& outcome :
         check_model(open(image, arch), cpu_device(CpuProducts::Exact)).outcomes) {
      seen.insert(outcome.stage);
      CHECK(outcome.compared > 0);
    }
  }
  for (const verify::StageInfo& stage : verify::stages()) {
    INFO(stage.title);
    CHECK(seen.contains(stage.stage));
  }
}

TEST_CASE("the self-check names the place of planted faults", "[engine][verify]") {
  for (const char* arch : {"qwen2", "qwen3", "qwen3moe"}) {
    check_faults(arch, 8, cpu_device(CpuProducts::Fast));
  }
  check_faults("qwen2", 64, cpu_device(CpuProducts::Fast, KvDType::F16));
  check_faults("qwen3", 128, cpu_device(CpuProducts::Fast, KvDType::F16));
  check_faults("qwen3moe", 64, cpu_device(CpuProducts::Fast, KvDType::F16));
}
