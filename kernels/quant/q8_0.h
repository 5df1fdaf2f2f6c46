// Q8_0: y = d q, signed bytes.
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct Q8_0 {
  static constexpr DType kType = DType::Q8_0;
  static constexpr const char* kName = "Q8_0";
  static constexpr uint32_t kGgufId = 8;
  static constexpr int kBlock = 32, kGroup = 32, kBits = 8, kZero = 128;
  static constexpr SubScales kSubScales = SubScales::None;
  static constexpr bool kHasMin = false;

  struct Block {
    LittleHalf d;
    int8_t qs[32];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) {
    for (int j = 0; j < kBlock; ++j) out[j] = static_cast<uint8_t>(b.qs[j] + kZero);
  }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(Q8_0::Block) == 34);

}  // namespace qwend::quant
