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

}  // namespace

std::string quoted(std::string_view text, size_t max_chars) {
  std::string out = "\"";
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0, chars = 0; i < text.size(); ++chars) {
    if (chars == max_chars) {
      out += "\"…";
      return out;
    }
    utf8proc_int32_t code_point = -1;
    const auto left = static_cast<utf8proc_ssize_t>(std::min<size_t>(text.size() - i, 4));
    const utf8proc_ssize_t length = utf8proc_iterate(bytes + i, left, &code_point);
    if (length <= 1) {
      out += length == 1 ? escape_ascii(bytes[i]) : hex_escape(bytes[i]);
      ++i;
    } else {
      const bool c1_control = code_point < 0xa0;
      for (utf8proc_ssize_t k = 0; k < length; ++k) {
        out += c1_control ? hex_escape(bytes[i + k]) : std::string(1, text[i + k]);
      }
      i += static_cast<size_t>(length);
    }
  }
  out += '"';
  return out;
}

}  // namespace qwend::gguf
