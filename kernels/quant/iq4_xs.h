// IQ4_XS: 8 groups of 32; y = d (s - 32) codebook[q], 6-bit s.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct IQ4_XS {
  static constexpr DType kType = DType::IQ4_XS;
  static constexpr const char* kName = "IQ4_XS";
  static constexpr uint32_t kGgufId = 23;
  static constexpr int kBlock = 256, kGroup = 32, kBits = 4, kZero = 128;
  static constexpr SubScales kSubScales = SubScales::U6Minus32;
  static constexpr bool kHasMin = false;
  static constexpr const int8_t* kCodebook = kIq4Codebook;
  struct Block {
    LittleHalf d, scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    for (int g = 0; g < kBlock / kGroup; ++g) unpack_nibbles(b.qs + 16 * g, out + 32 * g);
  }
  static constexpr int scale(const Block& b, int group) {
    const int low = b.scales_l[group / 2] >> group % 2 * 4 & 15;
    const int high = b.scales_h.bits() >> 2 * group & 3;
    return (low | high << 4) - 32;
  }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(IQ4_XS::Block) == 136);

}  // namespace qwend::quant
