// --device: what its text means and which device it finds.
#include "engine/device.h"
#include "engine/loader.h"
#include "server/cli/options.h"
#include "tests/support/catch2.h"

using namespace qwend;
using Catch::Matchers::Contains;
using Kind = DeviceChoice::Kind;

namespace {

CudaDeviceInfo gpu(int32_t index) {
  return {.index = index,
          .name = "GPU " + std::to_string(index),
          .major = 9,
          .minor = 0,
          .total_bytes = 1,
          .free_bytes = 1};
}
const std::vector<CudaDeviceInfo> kTwo = {gpu(0), gpu(2)};  // 1 is too old, say

}  // namespace

TEST_CASE("device: the text of --device", "[unit]") {
  CHECK(DeviceChoice::parse("auto")->kind == Kind::Auto);
  CHECK(DeviceChoice::parse("cpu")->kind == Kind::Cpu);
  CHECK(DeviceChoice::parse("cuda")->kind == Kind::Cuda);
  CHECK_FALSE(DeviceChoice::parse("cuda")->index);
  CHECK(DeviceChoice::parse("cuda:12")->index == 12);
  for (const char* bad :
       {"", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda: 1", "cuda:99999999999", "cpu:0"}) {
    INFO(bad);
    CHECK_FALSE(DeviceChoice::parse(bad));
  }
}

TEST_CASE("device: auto takes the first GPU, else the CPU; what is named must be there", "[unit]") {
  const auto find = [](const char* text, std::span<const CudaDeviceInfo> usable) {
    return find_device(*DeviceChoice::parse(text), usable).label();
  };
  CHECK(find("auto", kTwo) == "cuda:0");
  CHECK(find("auto", {}) == "cpu");
  CHECK(find("cpu", kTwo) == "cpu");
  CHECK(find("cuda", kTwo) == "cuda:0");
  CHECK(find("cuda:2", kTwo) == "cuda:2");
  CHECK_THROWS_WITH(find("cuda", {}), Contains("device cuda: no usable CUDA device"));
  CHECK_THROWS_WITH(find("cuda:1", kTwo), Contains("cuda:1") && Contains("cuda:0 (GPU 0), cuda:2 (GPU 2)"));
}

TEST_CASE("device: a text that names none is a usage error", "[unit]") {
  cli::OptionTable table("serve", "");
  cli::ServeOptions options;
  cli::add_serve_options(table, options);
  CHECK_THROWS_AS(table.parse({"--device", "cuda:one"}), CLI::ParseError);
  REQUIRE(table.parse({"--device", "cuda:1", "--gpu-memory-fraction", "0.5"}));
  const LoadSettings settings = options.model.load_settings();
  CHECK(settings.device.index == 1);
  CHECK(settings.memory.gpu_memory_fraction == 0.5);
}
