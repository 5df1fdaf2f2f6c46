#include <utf8proc.h>

#include <cstdlib>
#include <random>

#include "engine/text/nfc.h"
#include "engine/text/unicode.h"
#include "engine/text/utf8.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

std::string utf8proc_reference(const std::string& text) {
  utf8proc_uint8_t* result = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result, options);
  REQUIRE(length >= 0);
  std::string normalised(reinterpret_cast<char*>(result), static_cast<size_t>(length));
  std::free(result);
  return normalised;
}

bool is_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

}  // namespace

TEST_CASE("NFC of each code point, alone and after a letter and a mark", "[unit][nfc]") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (is_surrogate(c)) continue;
    std::string alone, composed = "a\u0323";
    append_utf8(alone, c);
    append_utf8(composed, c);
    if (to_nfc(alone) != utf8proc_reference(alone) || to_nfc(composed) != utf8proc_reference(composed)) {
      FAIL("U+" << std::hex << static_cast<uint32_t>(c));
    }
  }
}

TEST_CASE("NFC of random texts of characters that decompose, compose and reorder", "[unit][nfc]") {
  std::u32string alphabet = U"aAeoO \n한글가각";
  const UnicodeTable& table = UnicodeTable::instance();
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (!is_surrogate(c) && !table.is_nfc_boundary(c)) alphabet += c;
  }
  for (char32_t c = 0xC0; c < 0x250; ++c) alphabet += c;
  for (char32_t c = 0x1100; c < 0x1113; ++c) alphabet += c;
  std::mt19937 random(1);
  std::uniform_int_distribution<size_t> pick(0, alphabet.size() - 1), length(1, 20);
  for (int i = 0; i < 100'000; ++i) {
    std::string text;
    for (size_t left = length(random); left > 0; --left) append_utf8(text, alphabet[pick(random)]);
    const std::string expected = utf8proc_reference(text);
    if (to_nfc(text) != expected) {
      INFO("seed 1, text " << i);
      REQUIRE(to_nfc(text) == expected);
    }
    if (text != expected && nfc_quick_check(text)) FAIL("quick check passes text " << i << " of seed 1");
  }
}

TEST_CASE("the quick check passes ordinary text", "[unit][nfc]") {
  CHECK(nfc_quick_check("plain ASCII\r\n"));
  CHECK(nfc_quick_check("naïve café Ωmega 漢字 カタカナ 한국어 Привет 🦙"));
  CHECK_FALSE(nfc_quick_check("e\u0301"));
  CHECK_FALSE(nfc_quick_check("\u212B"));  // Angstrom sign: decomposes to A with ring
}

TEST_CASE("bytes that are not UTF-8 stay and stop composition", "[unit][nfc]") {
  CHECK(to_nfc("\xFF"
               "e\u0301\xE4\xB8") ==
        "\xFF"
        "\u00E9\xE4\xB8");
  CHECK(to_nfc("e\xFF\u0301") == "e\xFF\u0301");
  CHECK(to_nfc("\xFF\u0344") == "\xFF\u0308\u0301");
}

TEST_CASE("marks in the worst order are sorted in linear time", "[unit][nfc]") {
  std::string text = "a", expected = "\u1EA1";  // a with dot below
  constexpr int kPairs = 500'000;
  for (int i = 0; i < kPairs; ++i) text += "\u0302\u0323";  // class 230 before class 220
  for (int i = 1; i < kPairs; ++i) expected += "\u0323";
  expected.replace(0, 3, "\u1EAD");  // the first circumflex composes too
  for (int i = 1; i < kPairs; ++i) expected += "\u0302";
  CHECK(to_nfc(text) == expected);
}
