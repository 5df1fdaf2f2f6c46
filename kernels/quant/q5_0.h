// Q5_0: y = d (q - 16), fifth bits apart.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q5_0 {
  static constexpr DType kType = DType::Q5_0;
  static constexpr const char* kName = "Q5_0";
  static constexpr uint32_t kGgufId = 6;
  static constexpr int kBlock = 32, kGroup = 32, kBits = 5, kZero = 16;
  static constexpr SubScales kSubScales = SubScales::None;
  static constexpr bool kHasMin = false;

  struct Block {
    LittleHalf d;
    uint8_t qh[4];
    uint8_t qs[16];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    unpack_nibbles(b.qs, out);
    add_fifth_bits(b.qh, out);
  }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(Q5_0::Block) == 22);

}  // namespace qwend::quant
