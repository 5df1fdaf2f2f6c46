// The self-check on the reference models: every block format and architecture.
#include "engine/verify/verify.h"
#include "tests/golden/golden_data.h"
#include "tests/support/catch2.h"
#include "tests/support/verify_harness.h"

using namespace qwend;
using namespace qwend::test;

TEST_CASE("the self-check passes on the reference models", "[golden][verify]") {
  for (const GoldenVariant& variant : load_goldens()) {
    const verify::Report report = check_model(gguf::File::open(variant.path), cpu_device(CpuProducts::Fast));
    INFO(variant.path << ": " << first_failure(report));
    CHECK(report.passed());
  }
}
