// Q4_K: 8 groups of 32; y = d s q - dmin m, 6-bit s and m.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q4_K {
  static constexpr DType kType = DType::Q4_K;
  static constexpr const char* kName = "Q4_K";
  static constexpr uint32_t kGgufId = 12;
  static constexpr int kBlock = 256, kGroup = 32, kBits = 4, kZero = 0;
  static constexpr SubScales kSubScales = SubScales::U6;
  static constexpr bool kHasMin = true;

  struct Block {
    LittleHalf d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    for (int e = 0; e < kBlock; ++e) {
      const int group = e / 32;
      out[e] = b.qs[group / 2 * 32 + e % 32] >> group % 2 * 4 & 15;
    }
  }
  static constexpr int scale(const Block& b, int group) { return k_scale(b.scales, group); }
  static constexpr int min(const Block& b, int group) { return k_min(b.scales, group); }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
  static constexpr uint16_t dmin(const Block& b) { return b.dmin.bits(); }
};
static_assert(sizeof(Q4_K::Block) == 144);

}  // namespace qwend::quant
