// F32, F16, BF16: unquantised elements, "blocks" of one.
#pragma once
#include <bit>
#include <cstdint>

#include "kernels/quant/half.h"
#include "kernels/tensor.h"

namespace qwend::quant {

struct F32 {
  static constexpr DType kType = DType::F32;
  static constexpr const char* kName = "F32";
  static constexpr uint32_t kGgufId = 0;
  static constexpr int kBlock = 1;
  using Block = float;
  static constexpr float value(Block b) { return b; }
};

struct F16 {
  static constexpr DType kType = DType::F16;
  static constexpr const char* kName = "F16";
  static constexpr uint32_t kGgufId = 1;
  static constexpr int kBlock = 1;
  using Block = uint16_t;
  static constexpr float value(Block b) { return half_to_float(b); }
};

struct BF16 {
  static constexpr DType kType = DType::BF16;
  static constexpr const char* kName = "BF16";
  static constexpr uint32_t kGgufId = 30;
  static constexpr int kBlock = 1;
  using Block = uint16_t;
  static constexpr float value(Block b) { return bfloat16_to_float(b); }
};

}  // namespace qwend::quant
