// Q2_K: 16 groups of 16; y = d (s & 15) q - dmin (s >> 4), 2-bit q.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q2_K {
  static constexpr DType kType = DType::Q2_K;
  static constexpr const char* kName = "Q2_K";
  static constexpr uint32_t kGgufId = 10;
  static constexpr int kBlock = 256, kGroup = 16, kBits = 2, kZero = 0;
  static constexpr SubScales kSubScales = SubScales::U4;
  static constexpr bool kHasMin = true;

  struct Block {
    uint8_t scales[16];
    uint8_t qs[64];
    LittleHalf d, dmin;
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    for (int e = 0; e < kBlock; ++e) {
      const int half = e / 128, shift = e % 128 / 32 * 2;
      out[e] = b.qs[32 * half + e % 32] >> shift & 3;
    }
  }
  static constexpr int scale(const Block& b, int group) { return b.scales[group] & 15; }
  static constexpr int min(const Block& b, int group) { return b.scales[group] >> 4; }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
  static constexpr uint16_t dmin(const Block& b) { return b.dmin.bits(); }
};
static_assert(sizeof(Q2_K::Block) == 84);

}  // namespace qwend::quant
