#include <random>

#include "engine/text/detokenizer.h"
#include "tests/support/catch2.h"
#include "tests/support/test_vocabulary.h"

using namespace qwend;

namespace {

const std::string kReplacement = "\xEF\xBF\xBD";

// In the small vocabulary a byte's token has the byte's value.
std::string detokenize_bytes(const Tokenizer& tokenizer, const std::string& bytes) {
  Detokenizer detokenizer(tokenizer, false);
  std::string text;
  for (const char byte : bytes) text += detokenizer.push(static_cast<unsigned char>(byte));
  return text + detokenizer.flush();
}

}  // namespace

TEST_CASE("maximal invalid sequences become one U+FFFD each", "[unit][detokenizer]") {
  const std::string r = kReplacement;
  CHECK(sanitize_utf8("") == "");
  CHECK(sanitize_utf8("a\xE4\xB8\xADz") == "a\xE4\xB8\xADz");
  // The examples of Unicode 15, tables 3-8 to 3-11.
  CHECK(sanitize_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(sanitize_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(sanitize_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == r + r + r + r + r + "A" + r + r + "B");
  CHECK(sanitize_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
}

TEST_CASE("an unfinished tail is reported, not replaced, on request", "[unit][detokenizer]") {
  size_t tail = 99;
  CHECK(sanitize_utf8("ab\xF0\x9F\xA6", &tail) == "ab");
  CHECK(tail == 3);
  CHECK(sanitize_utf8("ab\xF0\x9F\xA6") == "ab" + kReplacement);
  CHECK(sanitize_utf8("ab", &tail) == "ab");
  CHECK(tail == 0);
  CHECK(sanitize_utf8("\xE0\x80", &tail) == kReplacement + kReplacement);  // can't become valid any more
  CHECK(tail == 0);
}

TEST_CASE("characters are held back until they are whole", "[unit][detokenizer]") {
  const Tokenizer tokenizer(test::small_vocabulary());
  Detokenizer detokenizer(tokenizer, false);
  CHECK(detokenizer.push(0xF0) == "");
  CHECK(detokenizer.push(0x9F) == "");
  CHECK(detokenizer.push(0xA6) == "");
  CHECK(detokenizer.push(0x99) == "\xF0\x9F\xA6\x99");
  CHECK(detokenizer.push(0xE4) == "");
  CHECK(detokenizer.push('a') == kReplacement + "a");
  CHECK(detokenizer.push(0xFF) == kReplacement);
  CHECK(detokenizer.push(0xC3) == "");
  CHECK(detokenizer.flush() == kReplacement);
  CHECK(detokenizer.flush() == "");
}

TEST_CASE("control tokens show only when asked for", "[unit][detokenizer]") {
  const Tokenizer tokenizer(test::small_vocabulary());
  const int32_t im_end = tokenizer.find("<|im_end|>"), think = tokenizer.find("<think>");
  CHECK(Detokenizer(tokenizer, false).push(im_end) == "");
  CHECK(Detokenizer(tokenizer, true).push(im_end) == "<|im_end|>");
  CHECK(Detokenizer(tokenizer, false).push(think) == "<think>");
}

TEST_CASE("token by token equals decoding at once, for any tokens", "[unit][detokenizer]") {
  const Tokenizer tokenizer(test::small_vocabulary());
  std::mt19937 random(3);
  std::uniform_int_distribution<int32_t> any(0, tokenizer.size() - 1), high(0x80, 0xFF), length(0, 40);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<int32_t> tokens(static_cast<size_t>(length(random)));
    for (int32_t& token : tokens) token = i % 2 ? any(random) : high(random);
    Detokenizer detokenizer(tokenizer, i % 3 == 0);
    std::string text;
    for (const int32_t token : tokens) {
      const std::string part = detokenizer.push(token);
      REQUIRE(sanitize_utf8(part) == part);
      text += part;
    }
    text += detokenizer.flush();
    REQUIRE(text == tokenizer.decode(tokens, i % 3 == 0));
  }
}

TEST_CASE("valid text comes back byte by byte", "[unit][detokenizer]") {
  const Tokenizer tokenizer(test::small_vocabulary());
  const std::string text = "naïve \u0301 漢字 🦙\U0010FFFF\n";
  CHECK(detokenize_bytes(tokenizer, text) == text);
}
