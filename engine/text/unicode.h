// What the tokenizer needs to know of a code point, in one table lookup.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace qwend {

enum class CharClass : uint8_t {
  Other,    // punctuation, symbols, controls, unassigned
  Letter,   // \p{L}
  Number,   // \p{N}
  Mark,     // \p{M}
  Space,    // \s (Unicode White_Space) but CR and LF
  Newline,  // CR and LF
};

// Categories and normalisation properties of all code points, from utf8proc's Unicode data: 4,352 blocks of
// 256 code points, equal blocks stored once. Immutable; any thread.
class UnicodeTable {
 public:
  static const UnicodeTable& instance();  // built on first use

  CharClass char_class(char32_t code_point) const { return static_cast<CharClass>(entry(code_point) & 7); }

  // True for a starter that is its own NFC form and never composes with what stands before it: text may
  // be cut in front of it and the parts normalised one by one. Text of such characters alone is in NFC.
  bool is_nfc_boundary(char32_t code_point) const { return entry(code_point) & kNfcBoundary; }

 private:
  static constexpr uint8_t kNfcBoundary = 8;
  static constexpr uint32_t kBlockBits = 8, kBlockSize = 1u << kBlockBits,
                            kNumBlocks = 0x110000 >> kBlockBits;

  UnicodeTable();
  uint8_t entry(char32_t code_point) const {
    return entries_[block_start_[code_point >> kBlockBits] + (code_point & (kBlockSize - 1))];
  }

  std::array<uint32_t, kNumBlocks> block_start_{};  // offset in entries_
  std::vector<uint8_t> entries_;                    // bits 0-2: CharClass, bit 3: NFC boundary
};

}  // namespace qwend
