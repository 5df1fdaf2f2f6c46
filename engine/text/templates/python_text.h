// Python's string methods as the Jinja templates use them.
#pragma once
#include <string_view>

namespace qwend::templates {

std::string_view strip(std::string_view text);  // str.strip(): Unicode white space on both ends
std::string_view lstrip_newlines(std::string_view text);
std::string_view rstrip_newlines(std::string_view text);
inline std::string_view strip_newlines(std::string_view text) {
  return lstrip_newlines(rstrip_newlines(text));
}
inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }
std::string_view before_first(std::string_view text, std::string_view separator);  // text.split(separator)[0]
std::string_view after_last(std::string_view text, std::string_view separator);  // text.split(separator)[-1]

}  // namespace qwend::templates
