#include "engine/text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>
#include <random>
#include <vector>

#include "engine/error.h"
#include "engine/text/utf8.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

using Pieces = std::vector<std::string>;

Pieces split(const char* name, std::string_view text) {
  const PreTokenizer pre_tokenizer(name);
  Pieces pieces;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = pre_tokenizer.piece_end(text, begin);
    REQUIRE(end > begin);
    REQUIRE(end <= text.size());
    pieces.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

// The published patterns, run by PCRE2. (?i) does not fold U+017F there without caseless Unicode, hence
// PCRE2_UCP.
class Reference {
 public:
  explicit Reference(bool marks_are_letters) {
    const std::string letters = marks_are_letters ? R"([\p{L}\p{M}]+)" : R"(\p{L}+)";
    const std::string symbols = marks_are_letters ? R"([^\s\p{L}\p{M}\p{N}]+)" : R"([^\s\p{L}\p{N}]+)";
    const std::string pattern = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?)" + letters +
                                R"(|\p{N}| ?)" + symbols + R"([\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    REQUIRE(code_);
    data_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }

  Pieces split(const std::string& text) const {
    Pieces pieces;
    for (size_t begin = 0; begin < text.size();) {
      const int count = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                    begin, PCRE2_ANCHORED, data_.get(), nullptr);
      REQUIRE(count > 0);
      const size_t end = pcre2_get_ovector_pointer(data_.get())[1];
      pieces.push_back(text.substr(begin, end - begin));
      begin = end;
    }
    return pieces;
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_data, Free> data_;
};

std::string random_text(std::mt19937& random) {
  // Characters that the patterns tell apart, several of each kind.
  static const std::u32string alphabet =
      U"''''sStTrReEvVmMlLdD\u017F  "
      U"\t\t\n\n\r\r\v\f\u0085\u00A0\u1680\u2003\u2028\u3000aé漢がक한Ωǅʰ\u0301\u0903\u20DD"
      U"0٣Ⅷ½²!?.,-_$€+<|>©🦙\u200D\uFE0F\uFFFD\u0000\u0007\u00AD\u200B\uE000\U000E0001";
  std::uniform_int_distribution<size_t> pick(0, alphabet.size() - 1), length(1, 24);
  std::string text;
  for (size_t left = length(random); left > 0; --left) append_utf8(text, alphabet[pick(random)]);
  return text;
}

}  // namespace

TEST_CASE("qwen2 pieces", "[unit][pretokenizer]") {
  CHECK(split("qwen2", "Hello, y'all! I'VE 12 apples") ==
        Pieces{"Hello", ",", " y", "'all", "!", " I", "'VE", " ", "1", "2", " apples"});
  CHECK(split("qwen2", "' era 'era 'sera") == Pieces{"'", " era", " '", "era", " '", "sera"});
  CHECK(split("qwen2", "x'sera 'S'\u017F") == Pieces{"x", "'s", "era", " '", "S", "'\u017F"});
  CHECK(split("qwen2", "  a") == Pieces{" ", " a"});
  CHECK(split("qwen2", "a   1") == Pieces{"a", "  ", " ", "1"});
  CHECK(split("qwen2", " \n \r\n  b") == Pieces{" \n \r\n", " ", " b"});
  CHECK(split("qwen2", "!!\n\n ??\n") == Pieces{"!!\n\n", " ??\n"});
  CHECK(split("qwen2", "\t\tx\t") == Pieces{"\t", "\tx", "\t"});
  CHECK(split("qwen2", "    ") == Pieces{"    "});
  CHECK(split("qwen2", "e\u0301a") == Pieces{"e", "\u0301a"});
  CHECK(split("qwen2", "\u00A0\u3000x") == Pieces{"\u00A0", "\u3000x"});
}

TEST_CASE("qwen35 counts marks as letters", "[unit][pretokenizer]") {
  CHECK(split("qwen35", "e\u0301a \u0301!\u0301") == Pieces{"e\u0301a", " \u0301", "!\u0301"});
  CHECK(split("deepseek-r1-qwen", "e\u0301a") == Pieces{"e", "\u0301a"});
}

TEST_CASE("pieces equal those of the published patterns", "[unit][pretokenizer]") {
  for (const bool marks_are_letters : {false, true}) {
    const Reference reference(marks_are_letters);
    std::mt19937 random(7);
    for (int i = 0; i < 20'000; ++i) {
      const std::string text = random_text(random);
      const Pieces expected = reference.split(text);
      const Pieces got = split(marks_are_letters ? "qwen35" : "qwen2", text);
      if (got != expected) {
        INFO("seed 7, text " << i << ": " << text);
        REQUIRE(got == expected);
      }
    }
  }
}

TEST_CASE("any bytes are cut into pieces that join to the text", "[unit][pretokenizer]") {
  std::mt19937 random(8);
  std::uniform_int_distribution<int> byte(0, 255), length(1, 40);
  for (int i = 0; i < 20'000; ++i) {
    std::string text, joined;
    for (int left = length(random); left > 0; --left) text += static_cast<char>(byte(random));
    for (const std::string& piece : split("qwen2", text)) joined += piece;
    REQUIRE(joined == text);
  }
}

TEST_CASE("an unknown pre-tokenizer is named", "[unit][pretokenizer]") {
  using Catch::Matchers::Contains;
  CHECK_THROWS_WITH(PreTokenizer("gpt-4o"),
                    Contains("gpt-4o") && Contains("qwen2, deepseek-r1-qwen, qwen35"));
}
