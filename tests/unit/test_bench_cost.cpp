// The arithmetic behind the benchmark's shares.
#include "server/cli/bench_cost.h"
#include "server/cli/bench_report.h"
#include "server/embedded_model.h"
#include "tests/support/catch2.h"

using namespace qwend;

TEST_CASE("bench: bytes and FLOPs of the demo model's tokens", "[unit]") {
  const gguf::File file = open_model("");
  const ModelConfig config = ModelConfig::from_gguf(file);
  REQUIRE(config.tied_output);
  const cli::TokenCost cost(file, config, 1000);
  double bytes = 0, layer_parameters = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    bytes += static_cast<double>(tensor.bytes);
    if (tensor.name.starts_with("blk.")) layer_parameters += static_cast<double>(tensor.elements());
  }
  CHECK(cost.decode_bytes(1, 0) == bytes);  // tied: the embedding is the output matrix
  CHECK(cost.decode_bytes(8, 100) == bytes + 8 * 100 * 1000.0);
  const double output = static_cast<double>(config.vocab) * config.embedding;
  CHECK(cost.decode_flops(0) == 2 * (layer_parameters + output));
  const double per_position = 4.0 * config.num_layers * config.num_heads * config.head_dim;
  CHECK(cost.decode_flops(10) - cost.decode_flops(0) == 10 * per_position);
  CHECK(cost.prompt_flops(100) == 2 * layer_parameters + 50 * per_position);
}

TEST_CASE("bench: the limit of a decoded token is reading, and on a GPU computing too", "[unit]") {
  cli::BenchSetting setting;
  setting.yardstick = {.read_bandwidth = 1e9, .gemm_flops = 1e10, .gemm = "x"};
  cli::BenchFigure decode{
      .test = "tg", .tokens_per_second = 50, .bytes_per_token = 1e7, .flops_per_token = 1e7};
  CHECK(*decode.share_of_limit(setting) == Approx(0.5));
  setting.device.cuda = CudaDeviceInfo{};
  CHECK(*decode.share_of_limit(setting) == Approx(0.55));
  const cli::BenchFigure prompt{.test = "pp", .tokens_per_second = 500, .flops_per_token = 1e7};
  CHECK(*prompt.share_of_limit(setting) == Approx(0.5));
  setting.yardstick.gemm_flops.reset();
  CHECK_FALSE(prompt.share_of_limit(setting));
}
