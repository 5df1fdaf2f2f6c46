// How packed weights lie in memory: the one description that packing and all kernels share.
//
// A matrix is cut into panels of 32 rows; the last is padded with zero rows. A panel is one contiguous
// stream, read front to back by one worker, no longer than the same rows of the file.
//
// Float formats: for each column, the 32 rows' elements.
//
// Block formats: for each block of F::kBlock columns a chunk of 32 blocks, interleaved:
//   d      half[32]
//   dmin   half[32]                     if F::kHasMin
//   sub-scales, bytes [plane][32]       see SubScaleLayout
//   codes of each 32 columns (a unit):  low component, then high component, see below
//
// Codes: a step is 4 neighbouring columns; a step of a row is one 32-bit word of 4 byte-sized codes, as the
// dot-product instructions want it, so that 32 rows of a step fill 128 bytes: lane = row. Narrow codes are
// split into components of 4, 2 or 1 bits (5 bits: low 4 + high 1). A component of w bits has w planes of 128
// bytes for the 8 steps of a unit: step j is in plane j % w, at bit w * (j / w) of each byte.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/quant/formats.h"

namespace qwend::cpu {

inline constexpr int kPanelRows = 32;
inline constexpr int kUnit = 32;               // columns that share an activation scale
inline constexpr int kSteps = kUnit / 4;       // of a unit
inline constexpr int kPlane = 4 * kPanelRows;  // bytes

template <quant::BlockFormat F>
struct CodeLayout {
  static constexpr int kLowBits = F::kBits == 8 ? 8 : F::kBits >= 4 ? 4 : 2;
  static constexpr int kHighBits = F::kBits - kLowBits;
  static constexpr int kUnitBytes = F::kBits * kPlane;
};

// The integer scales of a chunk, then its minima, are `kValues` values for each row.
//   I8: a plane of signed bytes each. U4: scale and minimum of a group share a byte (scale low).
//   U6: low nibbles first, value i in plane i % (n / 2), upper half of the values in the upper nibbles;
//       then the upper two bits, value i in plane i % (n / 4) at bit 2 * (i / (n / 4)).
template <quant::BlockFormat F>
struct SubScaleLayout {
  static constexpr int kGroups = F::kBlock / F::kGroup;
  static constexpr bool kSixBits =
      F::kSubScales == quant::SubScales::U6 || F::kSubScales == quant::SubScales::U6Minus32;
  static constexpr int kValues = F::kSubScales == quant::SubScales::None ? 0
                                 : F::kHasMin                            ? 2 * kGroups
                                                                         : kGroups;
  static constexpr int kNibblePlanes = kSixBits ? kValues / 2 : 0;
  static constexpr int kPairPlanes = kSixBits ? kValues / 4 : 0;
  static constexpr int kPlanes = F::kSubScales == quant::SubScales::None ? 0
                                 : kSixBits                              ? kNibblePlanes + kPairPlanes
                                                                         : kGroups;
};

template <quant::BlockFormat F>
struct ChunkLayout {
  static constexpr int kUnits = F::kBlock / kUnit;
  static constexpr int kD = 0;
  static constexpr int kDmin = 2 * kPanelRows;
  static constexpr int kSubScales = kDmin + (F::kHasMin ? 2 * kPanelRows : 0);
  static constexpr int kCodes = kSubScales + SubScaleLayout<F>::kPlanes * kPanelRows;
  static constexpr int kBytes = kCodes + kUnits * CodeLayout<F>::kUnitBytes;
  static_assert(kBytes == kPanelRows * static_cast<int>(sizeof(typename F::Block)),
                "no larger than the file");
  static_assert(kBytes % 64 == 0, "cache-line aligned");
};

constexpr bool is_float_format(DType dtype) {
  return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16;
}

// Bytes of a panel of `cols` columns: those of 32 rows of the file.
inline size_t panel_bytes(DType dtype, int64_t cols) { return format_bytes(dtype, cols) * kPanelRows; }
inline int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

}  // namespace qwend::cpu
