// The self-check on a GPU: it passes on the reference models, and locates faults planted around the real
// kernels.
#include "engine/gguf/gguf.h"
#include "tests/cuda/cuda_test.h"
#include "tests/golden/golden_data.h"
#include "tests/support/verify_harness.h"

using namespace qwend;
using namespace qwend::test;

namespace {

TestedDevice cuda_device() {
  const int32_t index = cuda_devices().front().index;
  return {"CUDA", [=] { return make_cuda_backend(index, verify::kMaxTokens, verify::kMaxTokens); },
          verify::Numerics::Half, KvDType::F16};
}

}  // namespace

TEST_CASE("the self-check passes on a GPU", "[cuda][verify]") {
  NEEDS_CUDA_DEVICE();
  for (const GoldenVariant& variant : load_goldens()) {
    const verify::Report report = check_model(gguf::File::open(variant.path), cuda_device());
    INFO(variant.path << ": " << first_failure(report));
    CHECK(report.passed());
  }
}

TEST_CASE("the self-check names the place of faults planted on a GPU", "[cuda][verify]") {
  NEEDS_CUDA_DEVICE();
  check_faults("qwen2", 64, cuda_device());
  check_faults("qwen3", 128, cuda_device());
  check_faults("qwen3moe", 64, cuda_device());
}
