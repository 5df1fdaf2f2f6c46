#include "engine/text/templates/python_text.h"

#include <utf8proc.h>

#include <algorithm>

namespace qwend::templates {
namespace {

bool is_space(utf8proc_int32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

// Bytes of the white space character at the start of `text`, 0 if there is none.
size_t leading_space(std::string_view text) {
  utf8proc_int32_t code_point = 0;
  const utf8proc_ssize_t length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                                   static_cast<utf8proc_ssize_t>(text.size()), &code_point);
  return length > 0 && is_space(code_point) ? static_cast<size_t>(length) : 0;
}

size_t trailing_space(std::string_view text) {
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {  // no white space is longer
    const std::string_view tail = text.substr(text.size() - length);
    if ((static_cast<unsigned char>(tail.front()) & 0xc0) != 0x80)
      return leading_space(tail) == length ? length : 0;
  }
  return 0;
}

}  // namespace

std::string_view strip(std::string_view text) {
  while (const size_t space = text.empty() ? 0 : leading_space(text)) text.remove_prefix(space);
  while (const size_t space = text.empty() ? 0 : trailing_space(text)) text.remove_suffix(space);
  return text;
}

std::string_view lstrip_newlines(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  return text;
}

std::string_view rstrip_newlines(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);  // npos + 1 = 0
}

std::string_view before_first(std::string_view text, std::string_view separator) {
  return text.substr(0, text.find(separator));
}

std::string_view after_last(std::string_view text, std::string_view separator) {
  const size_t position = text.rfind(separator);
  return position == text.npos ? text : text.substr(position + separator.size());
}

}  // namespace qwend::templates
