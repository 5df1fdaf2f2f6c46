// The self-check on the reference models: every block format and architecture.
#include "engine/verify/verify.h"
#include "tests/golden/golden_data.h"
#include "tests/support/catch2.h"
#include "tests/support/verify_harness.h"

using namespace qwend;
using namespace qwend::test;

TEST_CASE("the self-check passes on the reference models", "[golden][verify]") {
  const std::vector<GoldenVariant> variants = load_goldens();
  if (variants.empty()) WARN("skipped: no reference data");
  for (const GoldenVariant& variant : variants) {
    const verify::Report report = check_model(gguf::File::open(variant.path), cpu_device(CpuProducts::Fast));
    INFO(variant.path << ": " << first_failure(report));
    CHECK(report.passed());
  }
}
