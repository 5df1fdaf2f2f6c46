#include "engine/text/utf8.h"

#include <cstring>

namespace qwend {

namespace {

// What may follow a lead byte: the number of continuation bytes and the range of the first of them
// (Unicode 15, table 3-7). The later ones are always 80..BF.
struct LeadByte {
  uint32_t continuations = 0;  // 0: not a lead byte
  unsigned char low = 0x80, high = 0xBF;
};

constexpr LeadByte classify_lead(unsigned char lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {1};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {2};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {3};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {};
}

constexpr char32_t kReplacement = 0xFFFD;

}  // namespace

Utf8Char detail::decode_multibyte(const char* at, const char* end) {
  const auto lead = static_cast<unsigned char>(*at);
  const LeadByte expected = classify_lead(lead);
  if (expected.continuations == 0) return {kReplacement, 1, Utf8Char::Status::Invalid};
  char32_t code_point = lead & (0x3Fu >> expected.continuations);
  unsigned char low = expected.low, high = expected.high;
  for (uint32_t i = 1; i <= expected.continuations; ++i) {
    if (at + i == end) return {kReplacement, i, Utf8Char::Status::Truncated};
    const auto byte = static_cast<unsigned char>(at[i]);
    if (byte < low || byte > high) return {kReplacement, i, Utf8Char::Status::Invalid};
    code_point = code_point << 6 | (byte & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {code_point, expected.continuations + 1, Utf8Char::Status::Valid};
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | code_point >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0 | code_point >> 18);
    tail(12), tail(6), tail(0);
  }
}

size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (uint64_t word; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if (word & 0x8080808080808080u) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

std::string sanitize_utf8(std::string_view bytes, size_t* incomplete_tail) {
  if (incomplete_tail) *incomplete_tail = 0;
  std::string out;
  out.reserve(bytes.size());
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at < end) {
    const size_t ascii = ascii_prefix({at, end});
    out.append(at, ascii);
    at += ascii;
    if (at == end) break;
    const Utf8Char c = decode_utf8(at, end);
    if (c.status == Utf8Char::Status::Truncated && incomplete_tail) {
      *incomplete_tail = c.size;
      break;
    }
    if (c.valid()) {
      out.append(at, c.size);
    } else {
      out.append("\xEF\xBF\xBD");
    }
    at += c.size;
  }
  return out;
}

}  // namespace qwend
