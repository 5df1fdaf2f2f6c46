// IQ4_NL: y = d codebook[q].
#pragma once
#include "kernels/quant/block_format.h"

namespace qwend::quant {

struct IQ4_NL {
  static constexpr DType kType = DType::IQ4_NL;
  static constexpr const char* kName = "IQ4_NL";
  static constexpr uint32_t kGgufId = 20;
  static constexpr int kBlock = 32, kGroup = 32, kBits = 4, kZero = 128;
  static constexpr SubScales kSubScales = SubScales::None;
  static constexpr bool kHasMin = false;
  static constexpr const int8_t* kCodebook = kIq4Codebook;
  struct Block {
    LittleHalf d;
    uint8_t qs[16];
  };

  static constexpr void codes(const Block& b, uint8_t out[kBlock]) { unpack_nibbles(b.qs, out); }
  static constexpr uint16_t d(const Block& b) { return b.d.bits(); }
};
static_assert(sizeof(IQ4_NL::Block) == 18);

}  // namespace qwend::quant
