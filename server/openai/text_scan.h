// Finding markers in text that arrives in pieces.
#pragma once
#include <algorithm>
#include <string_view>

namespace qwend {

// Length of the longest end of `text` that is a proper beginning of `marker`: what must be held back.
inline size_t partial_suffix(std::string_view text, std::string_view marker) {
  for (size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length)
    if (text.substr(text.size() - length) == marker.substr(0, length)) return length;
  return 0;
}

inline std::string_view trim_right(std::string_view text, std::string_view what) {
  const size_t last = text.find_last_not_of(what);
  return last == text.npos ? std::string_view() : text.substr(0, last + 1);
}

inline constexpr std::string_view kJsonSpace = " \t\r\n";

}  // namespace qwend
