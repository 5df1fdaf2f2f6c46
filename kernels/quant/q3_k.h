// Q3_K: 16 groups of 16; y = d (s - 32) (q - 4), third bits and 6-bit s apart.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q3_K {
  static constexpr DType kType = DType::Q3_K;
  static constexpr const char* kName = "Q3_K";
  static constexpr uint32_t kGgufId = 11;
  static constexpr int kBlock = 256, kGroup = 16, kBits = 3, kZero = 4;
  static constexpr SubScales kSubScales = SubScales::U6Minus32;
  static constexpr bool kHasMin = false;

  struct Block {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    LittleHalf d;
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    for (int e = 0; e < kBlock; ++e) {
      const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
      const int low = b.qs[32 * half + l] >> 2 * quarter & 3;
      const int high = b.hmask[l] >> (4 * half + quarter) & 1;
      out[e] = static_cast<uint8_t>(low | high << 2);
    }
  }
  static constexpr int scale(const Block& b, int group) {
    const int low = group < 8 ? b.scales[group] & 15 : b.scales[group - 8] >> 4;
    const int high = b.scales[8 + group % 4] >> 2 * (group / 4) & 3;
    return (low | high << 4) - 32;
  }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(Q3_K::Block) == 110);

}  // namespace qwend::quant
