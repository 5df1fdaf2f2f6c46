// Qwen2's own vocabulary against the ids of Hugging Face tokenizers and llama.cpp.
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "engine/text/nfc.h"
#include "engine/text/tokenizer.h"
#include "tests/support/catch2.h"
#include "tests/support/test_vocabulary.h"

using namespace qwend;

namespace {

// nullptr, with a warning, where the reference data is missing.
const Tokenizer* qwen2() {
  static const std::optional<Tokenizer> tokenizer = [] {
    const auto vocabulary = test::qwen2_vocabulary();
    return vocabulary ? std::optional<Tokenizer>(std::in_place, *vocabulary) : std::nullopt;
  }();
  if (!tokenizer) WARN("skipped: no reference data in " << test::qwen2_tokenizer_folder());
  return tokenizer ? &*tokenizer : nullptr;
}

std::string repeat(std::string_view unit, size_t count, std::string_view after = "") {
  std::string text(after);
  for (size_t i = 0; i < count; ++i) text += unit;
  return text;
}

}  // namespace

TEST_CASE("ids equal Hugging Face's", "[unit][tokenizer][golden]") {
  const Tokenizer* tokenizer = qwen2();
  if (!tokenizer) return;
  std::ifstream file(test::qwen2_tokenizer_folder() + "cases.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  CHECK(cases.size() >= 440);
  for (const auto& reference : cases) {
    const auto text = reference.at("text").get<std::string>();
    const auto ids = reference.at("ids").get<std::vector<int32_t>>();
    INFO(text);
    CHECK(tokenizer->encode(text, Specials::All) == ids);
    CHECK(tokenizer->decode(ids, true) == to_nfc(text));
  }
}

TEST_CASE("ids equal llama.cpp's", "[unit][tokenizer][golden]") {
  const Tokenizer* tokenizer = qwen2();
  if (!tokenizer) return;
  std::ifstream texts(test::qwen2_tokenizer_folder() + "llama.cpp-cases.inp", std::ios::binary);
  std::ifstream ids(test::qwen2_tokenizer_folder() + "llama.cpp-cases.out");
  std::stringstream all;
  all << texts.rdbuf();
  const std::string separator = "\n__ggml_vocab_test__\n", input = all.str();
  size_t count = 0;
  std::string line;
  for (size_t begin = 0; begin < input.size(); ++count) {
    const size_t end = input.find(separator, begin);
    if (end == std::string::npos) break;  // what follows the last separator is no case
    const std::string text = input.substr(begin, end - begin);
    begin = end + separator.size();
    REQUIRE(std::getline(ids, line));
    std::istringstream numbers(line);
    const std::vector<int32_t> expected{std::istream_iterator<int32_t>(numbers), {}};
    INFO(text);
    // llama.cpp does not normalise; none of its texts needs it.
    CHECK(nfc_quick_check(text));
    CHECK(tokenizer->encode(text, Specials::None) == expected);
  }
  CHECK(count >= 46);
}

TEST_CASE("known anchors", "[unit][tokenizer][golden]") {
  const Tokenizer* tokenizer = qwen2();
  if (!tokenizer) return;
  using Ids = std::vector<int32_t>;
  CHECK(tokenizer->encode("<|im_start|>system\n", Specials::All) == Ids{151644, 8948, 198});
  CHECK(tokenizer->encode("<|im_start|>user\n", Specials::All) == Ids{151644, 872, 198});
  CHECK(tokenizer->encode("<|im_start|>assistant\n", Specials::All) == Ids{151644, 77091, 198});
  const std::vector<TextSegment> segments = {{"<|im_start|>user\n", Specials::All}, {"\nHi", Specials::None}};
  CHECK(tokenizer->encode(segments) == Ids{151644, 872, 271, 13048});
  CHECK(tokenizer->max_token_bytes() >= 64);
}

TEST_CASE("encoding from many threads at once gives the same ids", "[unit][tokenizer][golden]") {
  const auto vocabulary = test::qwen2_vocabulary();
  if (!vocabulary) return;
  const Tokenizer tokenizer(*vocabulary);  // a fresh one: the threads race to find out about each word
  const std::string text = repeat("The quick brown fox; naïve café 漢字 don't 123\n", 200);
  std::vector<std::vector<int32_t>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = tokenizer.encode(text, Specials::None); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) CHECK(result == results[0]);
  CHECK(tokenizer.decode(results[0]) == text);
}

TEST_CASE("a million of anything is encoded in linear time", "[unit][tokenizer][golden]") {
  const Tokenizer* tokenizer = qwen2();
  if (!tokenizer) return;
  constexpr size_t kMillion = 1'000'000;
  const std::pair<const char*, std::string> worst[] = {
      {"letters", repeat("a", kMillion)},
      {"spaces", repeat(" ", kMillion)},
      {"newlines", repeat("\n", kMillion)},
      {"a newline, then spaces", repeat(" ", kMillion, "\n")},
      {"combining marks", repeat("\xCC\x81", kMillion, "e")},
      {"combining marks in the wrong order", repeat("\xCC\x81\xCC\xA3", kMillion / 2, "e")},
      {"apostrophes", repeat("'", kMillion)},
      {"digits", repeat("7", kMillion)},
      {"emoji", repeat("\xF0\x9F\xA6\x99", kMillion)},
      {"special token beginnings", repeat("<|im_", kMillion / 5)},
      {"bytes that are not UTF-8", repeat("\xE4\xB8", kMillion / 2)},
  };
  for (const auto& [name, text] : worst) {
    INFO(name);
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer->encode(text, Specials::All);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    CHECK(seconds.count() <
          20);  // anything quadratic takes hours; sanitizers and busy machines get their time
    std::string bytes;
    for (const int32_t id : ids) bytes += tokenizer->bytes(id);
    CHECK(bytes == to_nfc(text));
  }
}
