// Q4_0: y = d (q - 8).
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q4_0 {
  static constexpr DType kType = DType::Q4_0;
  static constexpr const char* kName = "Q4_0";
  static constexpr uint32_t kGgufId = 2;
  static constexpr int kBlock = 32, kGroup = 32, kBits = 4, kZero = 8;
  static constexpr SubScales kSubScales = SubScales::None;
  static constexpr bool kHasMin = false;

  struct Block {
    LittleHalf d;
    uint8_t qs[16];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) { unpack_nibbles(b.qs, out); }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(Q4_0::Block) == 18);

}  // namespace qwend::quant
