#include <nlohmann/json.hpp>
#include <sstream>

#include "server/cli/tokenize.h"
#include "tests/support/catch2.h"
#include "tests/support/test_vocabulary.h"

using namespace qwend;

namespace {

std::string tokenize(std::string_view text, bool json, bool specials) {
  const Tokenizer tokenizer(test::small_vocabulary());
  std::ostringstream out;
  CHECK(cli::run_tokenize(tokenizer, text, json, specials, out) == 0);
  return out.str();
}

}  // namespace

TEST_CASE("tokenize prints a line a token and the count", "[unit][cli]") {
  CHECK(tokenize("the\n\xC3\xA9", false, false) ==
        "    257  \"the\"\n"
        "     10  \"\\n\"\n"
        "    195  \"\\xc3\"\n"
        "    169  \"\\xa9\"\n"
        "4 tokens\n");
  CHECK(tokenize("the", false, true) == "    257  \"the\"\n1 token\n");
  CHECK(tokenize("", false, true) == "0 tokens\n");
}

TEST_CASE("tokenize shows the type of special tokens", "[unit][cli]") {
  const std::string table = tokenize("the<think><|im_end|>", false, true);
  CHECK_THAT(table, Catch::Matchers::Contains("USER_DEFINED  \"<think>\"\n"));
  CHECK_THAT(table, Catch::Matchers::Contains("CONTROL       \"<|im_end|>\"\n3 tokens\n"));
  CHECK_THAT(tokenize("<|im_end|>", false, false), !Catch::Matchers::Contains("CONTROL"));
}

TEST_CASE("tokenize prints JSON whatever the bytes", "[unit][cli]") {
  const auto printed = nlohmann::json::parse(tokenize("the\xFF", true, true));
  CHECK(printed["count"] == 2);
  CHECK(printed["tokens"][0] == nlohmann::json{{"id", 257}, {"type", "NORMAL"}, {"text", "the"}});
  CHECK(printed["tokens"][1]["text"] == "\xEF\xBF\xBD");
  CHECK(printed["tokens"][1]["bytes"] == nlohmann::json{255});
}
