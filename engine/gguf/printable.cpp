#include "engine/gguf/printable.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdio>

namespace qwend::gguf {
namespace {

std::string hex_escape(unsigned char byte) {
  char buffer[8];
  std::snprintf(buffer, sizeof buffer, "\\x%02x", byte);
  return buffer;
}

std::string escape_ascii(unsigned char c) {
  switch (c) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '"': return "\\\"";
    case '\\': return "\\\\";
    default: return c < 0x20 || c == 0x7f ? hex_escape(c) : std::string(1, static_cast<char>(c));
  }
}

// The character at the start of `text`: its bytes and code point; length below 1 when it is not UTF-8.
struct Character {
  utf8proc_ssize_t length;
  utf8proc_int32_t code_point;
};

Character first_character(std::string_view text) {
  Character character = {};
  const auto left = static_cast<utf8proc_ssize_t>(std::min<size_t>(text.size(), 4));
  character.length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), left, &character.code_point);
  return character;
}

bool is_control(utf8proc_int32_t code_point) {
  return code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
}

}  // namespace

std::string quoted(std::string_view text, size_t max_chars) {
  std::string out = "\"";
  for (size_t chars = 0; !text.empty(); ++chars) {
    if (chars == max_chars) return out + "\"…";
    const auto [length, code_point] = first_character(text);
    const size_t bytes = length < 1 ? 1 : static_cast<size_t>(length);
    for (const char c : text.substr(0, bytes)) {
      const auto byte = static_cast<unsigned char>(c);
      if (bytes == 1) {
        out += byte < 0x80 ? escape_ascii(byte) : hex_escape(byte);
      } else {
        out += is_control(code_point) ? hex_escape(byte) : std::string(1, c);
      }
    }
    text.remove_prefix(bytes);
  }
  return out + '"';
}

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const auto [length, code_point] = first_character(text);
    if (length < 1 || is_control(code_point)) return false;
    text.remove_prefix(static_cast<size_t>(length));
  }
  return true;
}

}  // namespace qwend::gguf
