// Q4_1: y = d q + m.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q4_1 {
  static constexpr DType kType = DType::Q4_1;
  static constexpr const char* kName = "Q4_1";
  static constexpr uint32_t kGgufId = 3;
  static constexpr int kBlock = 32, kGroup = 32, kBits = 4, kZero = 0;
  static constexpr SubScales kSubScales = SubScales::None;
  static constexpr bool kHasMin = true;

  struct Block {
    LittleHalf d;
    LittleHalf m;
    uint8_t qs[16];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) { unpack_nibbles(b.qs, out); }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
  // The file's m is added: its negative is the minimum that is taken away.
  static constexpr uint16_t dmin(const Block& b) { return b.m.bits() ^ 0x8000u; }
};
static_assert(sizeof(Q4_1::Block) == 20);

}  // namespace qwend::quant
