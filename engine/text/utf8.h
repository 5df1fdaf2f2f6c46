// UTF-8 one character at a time, strict: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qwend {

struct Utf8Char {
  enum class Status : uint8_t { Valid, Invalid, Truncated };  // Truncated: valid so far, but the text ends
  char32_t code_point;                                        // U+FFFD unless Valid
  uint32_t size;  // bytes: of the character, or of the maximal invalid sequence (Unicode 15, section 3.9)
  Status status;
  bool valid() const { return status == Status::Valid; }
};

namespace detail {
Utf8Char decode_multibyte(const char* at, const char* end);  // *at is not ASCII
}

// The character that starts at `at`. Precondition: at < end.
inline Utf8Char decode_utf8(const char* at, const char* end) {
  const auto lead = static_cast<unsigned char>(*at);
  if (lead < 0x80) [[likely]]
    return {lead, 1, Utf8Char::Status::Valid};
  return detail::decode_multibyte(at, end);
}

// Appends the UTF-8 form of a valid code point.
void append_utf8(std::string& out, char32_t code_point);

// Bytes of ASCII from the front of `text`.
size_t ascii_prefix(std::string_view text);

// Replaces each maximal invalid sequence by U+FFFD (Unicode 15, section 3.9). When `incomplete_tail` is not
// null, a valid but unfinished sequence at the end is left out of the result and its length (0 to 3) stored
// there.
std::string sanitize_utf8(std::string_view bytes, size_t* incomplete_tail = nullptr);

}  // namespace qwend
