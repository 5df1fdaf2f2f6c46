// What every block format states about itself, and the one decoder that follows from it.
//
// A block holds kBlock elements in groups of kGroup that share a scale:
//
//   y[e] = d * scale(e / kGroup) * value(code[e])  -  dmin * min(e / kGroup)
//
// with unsigned codes of kBits bits, value(c) = c - kZero or a lookup in kCodebook, halves d and dmin and
// integer multipliers scale and min (1 where a block is one group). Decoding, repacking for the CPU and
// the parity tests are all made from these members:
//
//   kType, kName, kGgufId, kBlock, kGroup, kBits, kZero, kSubScales, kHasMin, struct Block
//   void codes(const Block&, uint8_t out[kBlock])
//   uint16_t d(const Block&)            half
//   uint16_t dmin(const Block&)         half, when kHasMin
//   int scale(const Block&, int group)  when kSubScales != SubScales::None
//   int min(const Block&, int group)    when kHasMin and kSubScales != SubScales::None
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/quant/half.h"
#include "kernels/tensor.h"

namespace qwend::quant {

// The integer multipliers of a super-block, by range. They fit a byte in every format.
enum class SubScales : uint8_t {
  None,       // one group: d itself is the scale
  U6,         // 0..63
  U4,         // 0..15
  I8,         // -128..127
  U6Minus32,  // -32..31
};

// Block structs mirror the file byte for byte, so that nothing in them is aligned.
struct LittleHalf {
  uint8_t bytes[2];
  constexpr uint16_t bits() const { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }
};

// 32 nibbles in 16 bytes: low nibbles are elements 0..15, high nibbles 16..31.
constexpr void unpack_nibbles(const uint8_t qs[16], uint8_t out[32]) {
  for (int j = 0; j < 16; ++j) {
    out[j] = qs[j] & 15;
    out[j + 16] = qs[j] >> 4;
  }
}

// Sets bit 4 of code j from bit j of the 32-bit little-endian word qh.
constexpr void add_fifth_bits(const uint8_t qh[4], uint8_t codes[32]) {
  for (int j = 0; j < 32; ++j) codes[j] = static_cast<uint8_t>(codes[j] | (qh[j / 8] >> j % 8 & 1) << 4);
}

// The 16 values that IQ4_NL and IQ4_XS codes stand for.
inline constexpr int8_t kIq4Codebook[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};

// The 6-bit scales and minima of Q4_K and Q5_K, 8 each in 12 bytes.
constexpr int k_scale(const uint8_t s[12], int group) {
  return group < 4 ? s[group] & 63 : (s[group + 4] & 15) | s[group - 4] >> 6 << 4;
}
constexpr int k_min(const uint8_t s[12], int group) {
  return group < 4 ? s[group + 4] & 63 : s[group + 4] >> 4 | s[group] >> 6 << 4;
}

template <class F>
concept BlockFormat = requires {
  F::kGroup;
};

template <BlockFormat F>
constexpr int code_value(uint8_t code) {
  if constexpr (requires { F::kCodebook; }) {
    return F::kCodebook[code];
  } else {
    return code - F::kZero;
  }
}

// Scale and minimum of a group, in FP32. Both products are exact: 11 by at most 8 bits.
template <BlockFormat F>
constexpr float group_scale(const typename F::Block& b, int group) {
  const float d = half_to_float(F::d(b));
  if constexpr (F::kSubScales == SubScales::None) {
    return d;
  } else {
    return d * static_cast<float>(F::scale(b, group));
  }
}
template <BlockFormat F>
constexpr float group_min(const typename F::Block& b, int group) {
  if constexpr (!F::kHasMin) {
    return 0.0f;
  } else if constexpr (F::kSubScales == SubScales::None) {
    return half_to_float(F::dmin(b));
  } else {
    return half_to_float(F::dmin(b)) * static_cast<float>(F::min(b, group));
  }
}

// y: kBlock floats.
template <BlockFormat F>
constexpr void dequantize_block(const typename F::Block& b, float* y) {
  uint8_t codes[F::kBlock];
  F::codes(b, codes);
  for (int g = 0; g < F::kBlock / F::kGroup; ++g) {
    const float scale = group_scale<F>(b, g);
    const float minimum = group_min<F>(b, g);
    for (int i = 0; i < F::kGroup; ++i) {
      const int e = g * F::kGroup + i;
      const float product = scale * static_cast<float>(code_value<F>(codes[e]));
      y[e] = F::kHasMin ? product - minimum : product;
    }
  }
}

}  // namespace qwend::quant
