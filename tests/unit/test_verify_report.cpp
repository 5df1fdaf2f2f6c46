// The self-check's report as a table and as JSON.
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "server/cli/verify.h"
#include "tests/support/catch2.h"

using namespace qwend;
using verify::Outcome;
using verify::Stage;

namespace {

// K before RoPE is off in layers 1 and 2, Q is as it should be.
verify::Report wrong_keys() {
  verify::Report report;
  report.model = "m.gguf";
  const auto add = [&](Stage stage, double error, const char* tensor, int32_t layer, int32_t head,
                       int32_t position, const char* detail) {
    Outcome& outcome = report.outcomes.emplace_back();
    outcome.stage = stage, outcome.error = error, outcome.tolerance = 1e-3, outcome.compared = 4;
    outcome.place.tensor = tensor, outcome.place.layer = layer, outcome.place.head = head;
    outcome.place.sequence = 0, outcome.place.position = position;
    outcome.detail = detail;
  };
  add(Stage::QueryUnrotated, 1e-6, "blk.0.attn_q", 0, 3, 5, "fine");
  add(Stage::KeyUnrotated, 1e-6, "blk.0.attn_k", 0, 1, 5, "fine");
  add(Stage::KeyUnrotated, 0.5, "blk.1.attn_k", 1, 1, 17, "it is head 0's");
  add(Stage::KeyUnrotated, INFINITY, "blk.2.attn_k", 2, 0, 3, "NaN");
  return report;
}

std::string table(const verify::Report& report, bool colour) {
  std::ostringstream out;
  cli::print_verify_report(report, colour, out);
  return out.str();
}

}  // namespace

TEST_CASE("verify: the table marks the first failure, in red on a terminal only", "[unit][verify]") {
  const std::string plain = table(wrong_keys(), false), coloured = table(wrong_keys(), true);
  CHECK(plain.find('\033') == std::string::npos);
  const size_t red = coloured.find("\033[31m");
  REQUIRE(red != std::string::npos);
  CHECK(coloured.find("K before RoPE", red) < coloured.find("\033[0m", red));
  CHECK(coloured.find("\033[31m", red + 1) == std::string::npos);
  CHECK(plain.find(
            "First difference: K before RoPE, layer 1, head 1, sequence 0, position 17 (blk.1.attn_k)") !=
        std::string::npos);
  CHECK(plain.find("it is head 0's") != std::string::npos);
  CHECK(plain.find("Everything is within") == std::string::npos);
}

TEST_CASE("verify: JSON names stages, outcomes and the first failure", "[unit][verify]") {
  const auto json = nlohmann::json::parse(cli::verify_report_json(wrong_keys()));
  CHECK(json["passed"] == false);
  CHECK(json["first_failure"]["stage"] == "key_before_rope");
  CHECK(json["first_failure"]["layer"] == 1);
  CHECK(json["first_failure"]["tensor"] == "blk.1.attn_k");
  REQUIRE(json["stages"].size() == 2);
  CHECK(json["stages"][0]["passed"] == true);
  CHECK(json["stages"][1]["outcomes"][2]["error"] == "inf");

  verify::Report sound = wrong_keys();
  sound.outcomes.resize(2);
  const auto good = nlohmann::json::parse(cli::verify_report_json(sound));
  CHECK(good["passed"] == true);
  CHECK(good["first_failure"].is_null());
  CHECK(table(sound, true).find("Everything is within its tolerance.") != std::string::npos);
}
