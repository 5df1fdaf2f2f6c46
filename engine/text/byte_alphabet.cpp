#include "engine/text/byte_alphabet.h"

#include <array>

#include "engine/text/utf8.h"

namespace qwend {

namespace {

constexpr char32_t kAlphabetEnd = 0x100 + 68;

// Code point -> byte, -1 for code points outside the alphabet.
constexpr std::array<int16_t, kAlphabetEnd> make_byte_of() {
  std::array<int16_t, kAlphabetEnd> byte_of{};
  byte_of.fill(-1);
  char32_t next_substitute = 0x100;
  for (int16_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
    byte_of[printable ? static_cast<char32_t>(byte) : next_substitute++] = byte;
  }
  return byte_of;
}

constexpr std::array<int16_t, kAlphabetEnd> kByteOf = make_byte_of();

}  // namespace

bool append_from_byte_alphabet(std::string_view text, std::string& out) {
  const size_t length_before = out.size();
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const Utf8Char c = decode_utf8(at, end);
    const int16_t byte = c.code_point < kAlphabetEnd ? kByteOf[c.code_point] : int16_t{-1};
    if (byte < 0) {
      out.resize(length_before);
      return false;
    }
    out += static_cast<char>(byte);
    at += c.size;
  }
  return true;
}

}  // namespace qwend
