// Q6_K: 16 groups of 16; y = d s (q - 32), signed bytes s, upper two bits apart.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q6_K {
  static constexpr DType kType = DType::Q6_K;
  static constexpr const char* kName = "Q6_K";
  static constexpr uint32_t kGgufId = 14;
  static constexpr int kBlock = 256, kGroup = 16, kBits = 6, kZero = 32;
  static constexpr SubScales kSubScales = SubScales::I8;
  static constexpr bool kHasMin = false;

  struct Block {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    LittleHalf d;
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    for (int e = 0; e < kBlock; ++e) {
      const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
      const int low = b.ql[64 * half + quarter % 2 * 32 + l] >> quarter / 2 * 4 & 15;
      const int high = b.qh[32 * half + l] >> 2 * quarter & 3;
      out[e] = static_cast<uint8_t>(low | high << 4);
    }
  }
  static constexpr int scale(const Block& b, int group) { return b.scales[group]; }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(Q6_K::Block) == 210);

}  // namespace qwend::quant
