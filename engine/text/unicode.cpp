#include "engine/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "kernels/check.h"

namespace qwend {

namespace {

constexpr char32_t kNumCodePoints = 0x110000;
constexpr char32_t kFirstHangulV = 0x1161, kLastHangulV = 0x1175, kFirstHangulT = 0x11A8,
                   kLastHangulT = 0x11C2;

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

CharClass classify(char32_t c, const utf8proc_property_t& property) {
  if (c == '\r' || c == '\n') return CharClass::Newline;
  if (is_white_space(c)) return CharClass::Space;
  const auto category = property.category;
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return CharClass::Letter;
  if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) return CharClass::Mark;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharClass::Number;
  return CharClass::Other;
}

// Looks at a code point with a canonical decomposition: every part but the first may compose with what
// stands before it. Returns whether the code point is its own NFC form.
bool decompose(char32_t c, std::vector<bool>& composes_backward) {
  constexpr utf8proc_ssize_t kMaxParts = 8;
  utf8proc_int32_t parts[kMaxParts];
  int boundclass = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, kMaxParts,
                                             UTF8PROC_DECOMPOSE, &boundclass);
  CHECK(count >= 1 && count <= kMaxParts);
  for (utf8proc_ssize_t i = 1; i < count; ++i) composes_backward[static_cast<size_t>(parts[i])] = true;
  const auto composed = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  return utf8proc_normalize_utf32(parts, count, composed) == 1 &&
         parts[0] == static_cast<utf8proc_int32_t>(c);
}

}  // namespace

const UnicodeTable& UnicodeTable::instance() {
  static const UnicodeTable table;
  return table;
}

UnicodeTable::UnicodeTable() {
  std::vector<uint8_t> all(kNumCodePoints);
  std::vector<bool> composes_backward(kNumCodePoints);
  for (char32_t c = 0; c < kNumCodePoints; ++c) {
    const utf8proc_property_t& property = *utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
    const bool decomposes = property.decomp_seqindex != UINT16_MAX && property.decomp_type == 0;
    const bool stable = !decomposes || decompose(c, composes_backward);
    all[c] = static_cast<uint8_t>(classify(c, property));
    if (stable && property.combining_class == 0) all[c] |= kNfcBoundary;
  }
  for (char32_t c = kFirstHangulV; c <= kLastHangulV; ++c) composes_backward[c] = true;
  for (char32_t c = kFirstHangulT; c <= kLastHangulT; ++c) composes_backward[c] = true;

  std::unordered_map<std::string, uint32_t> known_blocks;
  for (uint32_t block = 0; block < kNumBlocks; ++block) {
    const char32_t first = block << kBlockBits;
    for (char32_t c = first; c < first + kBlockSize; ++c) {
      if (composes_backward[c]) all[c] &= static_cast<uint8_t>(~kNfcBoundary);
    }
    const auto begin = all.begin() + first, end = begin + kBlockSize;
    const auto [known, is_new] = known_blocks.try_emplace(std::string(begin, end), entries_.size());
    if (is_new) entries_.insert(entries_.end(), begin, end);
    block_start_[block] = known->second;
  }
}

}  // namespace qwend
