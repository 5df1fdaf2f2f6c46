// `qwend inspect`: tables, JSON and the list of problems.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "server/cli/inspect.h"
#include "tests/support/catch2.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/reference_data.h"

using namespace qwend;
using Catch::Matchers::Contains;
using qwend::test::GgufWriter;

namespace {

std::filesystem::path reference_model() {
  return qwend::test::reference_data() / "goldens" / "qwen2-gqa7-tied-q4_k_m.gguf";
}

}  // namespace

TEST_CASE("inspect: a sound model", "[unit][inspect]") {
  if (!std::filesystem::exists(reference_model())) {
    WARN("skipped: no reference data at " << qwend::test::reference_data());
    return;
  }
  std::ostringstream text, json_text;
  CHECK(cli::run_inspect(reference_model().string(), false, text) == 0);
  CHECK_THAT(text.str(), Contains("general.architecture") && Contains("\"qwen2\""));
  CHECK_THAT(text.str(), Contains("token_embd.weight") && Contains("KV cache, a token"));
  CHECK_THAT(text.str(), Contains("No problems found."));

  CHECK(cli::run_inspect(reference_model().string(), true, json_text) == 0);
  const auto json = nlohmann::json::parse(json_text.str());
  CHECK(json["problems"].empty());
  CHECK(json["model"]["architecture"] == "qwen2");
  int64_t parameters = 0;
  uint64_t bytes = 0;
  for (const auto& [name, sum] : json["formats"].items()) {
    parameters += sum["parameters"].get<int64_t>();
    bytes += sum["bytes"].get<uint64_t>();
  }
  CHECK(json["parameters"] == parameters);
  const auto &cpu = json["memory"]["cpu"], &gpu = json["memory"]["gpu"];
  CHECK(cpu["weights"] == bytes);
  CHECK(gpu["weights"] >= bytes);
  const auto& model = json["model"];
  const int rows = model["layers"].get<int>() * model["kv_heads"].get<int>() * model["head_dim"].get<int>();
  CHECK(cpu["kv_per_token"] == 2 * 2 * rows);  // F16: the weights are quantised
  CHECK(gpu["kv_per_token"] == 2 * 2 * rows);
  // FP16 copies: two bytes an element of the layers' matrices, all of them in block formats, 64 columns wide.
  uint64_t elements = 0;
  for (const auto& tensor : json["tensors"]) {
    if (tensor["shape"].size() == 2 && tensor["name"].get<std::string>().starts_with("blk."))
      elements += tensor["shape"][0].get<uint64_t>() * tensor["shape"][1].get<uint64_t>();
  }
  CHECK(gpu["half_copies"] == 2 * elements);
  CHECK(cpu["half_copies"] == 0);

  std::ostringstream precise;
  CHECK(cli::run_inspect(reference_model().string(), true, precise, KvDType::F32) == 0);
  for (const char* device : {"cpu", "gpu"})
    CHECK(nlohmann::json::parse(precise.str())["memory"][device]["kv_per_token"] == 4 * 2 * rows);
}

TEST_CASE("inspect: every problem is listed", "[unit][inspect]") {
  GgufWriter writer;
  writer.set("general.architecture", "qwen3").set("qwen3.block_count", 1u).set("qwen3.context_length", 128u);
  writer.set("qwen3.embedding_length", 4u).set("qwen3.feed_forward_length", 8u).set("odd key", "\x1b[31mred");
  writer.set("qwen3.attention.head_count", 1u);
  writer.tensor_f32("token_embd.weight", {4, 2}, std::vector<float>(8)).tensor_f32("stray", {1}, {1});
  writer.tensor_f32("output_norm.weight", {3}, std::vector<float>(3));
  const auto image = writer.build();
  const gguf::File file = gguf::File::from_memory(image.bytes, "m.gguf");
  std::ostringstream text, json;
  CHECK(cli::run_inspect(file, false, text) == 65);
  CHECK_THAT(text.str(), Contains("problem: output_norm.weight has shape [3], the metadata asks for [4]"));
  CHECK_THAT(text.str(), Contains("problem: blk.0.attn_norm.weight is missing"));
  CHECK_THAT(text.str(), Contains("problem: stray is not part of qwen3"));
  CHECK_THAT(text.str(), Contains("\"\\x1b[31mred\""));
  CHECK(cli::run_inspect(file, true, json) == 65);
  CHECK(nlohmann::json::parse(json.str())["problems"].size() > 10);

  const auto unknown = GgufWriter().set("general.architecture", "llama").build();
  std::ostringstream other;
  CHECK(cli::run_inspect(gguf::File::from_memory(unknown.bytes, "m.gguf"), false, other) == 65);
  CHECK_THAT(other.str(), Contains("problem: metadata general.architecture: \"llama\" is not supported"));
}
