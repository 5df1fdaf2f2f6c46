// Codes and scales of packed weights (matmul_layout.h) as vectors.
//
// Included by matmul_kernels_impl.h, under its rules.
#pragma once
#include "kernels/cpu/matmul_kernels.h"

#define QWEND_INLINE inline __attribute__((always_inline))
#define QWEND_LAMBDA __attribute__((always_inline))

namespace qwend::cpu {
namespace {

using Int = Simd::Int;
using Float = Simd::Float;
using quant::SubScales;

constexpr int kWidth = Simd::kWidth;
constexpr int kLaneGroups = 2;                   // vectors of rows computed together
constexpr int kPassRows = kLaneGroups * kWidth;  // rows of one pass over the panel
constexpr int kPasses = kPanelRows / kPassRows;

// ---- codes

// Bits of step `kStep` of a component of kBits, moved to bit kTo of each byte. planes: this pass's lanes.
template <int kBits, int kStep, int kTo>
QWEND_INLINE Int component(const std::byte* planes) {
  constexpr int kFrom = kBits * (kStep / kBits);
  const Int word = Simd::load(planes + kStep % kBits * kPlane);
  if constexpr (kBits == 8) {
    return word;
  } else {
    constexpr uint32_t kMask = ((1u << kBits) - 1) * 0x01010101u << kTo;
    if constexpr (kFrom >= kTo) {
      return Simd::bit_and(Simd::template shift_right<kFrom - kTo>(word),
                           Simd::set1(static_cast<int32_t>(kMask)));
    } else {
      return Simd::bit_and(Simd::template shift_left<kTo - kFrom>(word),
                           Simd::set1(static_cast<int32_t>(kMask)));
    }
  }
}

// The byte-sized codes of step kStep for kWidth rows.
template <class F, int kStep>
QWEND_INLINE Int step_codes(const std::byte* unit) {
  using L = CodeLayout<F>;
  Int codes = component<L::kLowBits, kStep, 0>(unit);
  if constexpr (L::kHighBits > 0) {
    codes = Simd::bit_or(codes, component<L::kHighBits, kStep, L::kLowBits>(unit + L::kLowBits * kPlane));
  }
  if constexpr (requires { F::kCodebook; }) codes = Simd::codebook(codes);
  return codes;
}

// ---- scales

// Integer sub-scale `value` of kWidth rows.
template <class F>
QWEND_INLINE Int sub_scale(const std::byte* planes, int value) {
  using L = SubScaleLayout<F>;
  if constexpr (F::kSubScales == SubScales::I8) {
    return Simd::load_int8(planes + value * kPanelRows);
  } else if constexpr (F::kSubScales == SubScales::U4) {
    const Int both = Simd::load_uint8(planes + value % L::kGroups * kPanelRows);
    return value < L::kGroups ? Simd::bit_and(both, Simd::set1(15)) : Simd::template shift_right<4>(both);
  } else {
    constexpr int kHalf = L::kNibblePlanes, kQuarter = L::kPairPlanes;
    const Int nibbles = Simd::load_uint8(planes + value % kHalf * kPanelRows);
    const Int pairs = Simd::load_uint8(planes + (kHalf + value % kQuarter) * kPanelRows);
    const Int low =
        value < kHalf ? Simd::bit_and(nibbles, Simd::set1(15)) : Simd::template shift_right<4>(nibbles);
    const Int high = Simd::bit_and(Simd::shift_right_by(pairs, 2 * (value / kQuarter)), Simd::set1(3));
    const Int six = Simd::bit_or(low, Simd::template shift_left<4>(high));
    return F::kSubScales == SubScales::U6Minus32 ? Simd::sub(six, Simd::set1(32)) : six;
  }
}

// FP32 scales (and minima) of a chunk's groups for the rows of a pass.
template <class F>
struct ChunkScales {
  static constexpr int kGroups = F::kBlock / F::kGroup;
  Float scale[kGroups][kLaneGroups];
  Float minimum[F::kHasMin ? kGroups : 1][kLaneGroups];

  // chunk: at the pass's first row, in units of rows: `row` is that row.
  QWEND_INLINE void load(const std::byte* chunk, int row) {
    using L = ChunkLayout<F>;
    for (int r = 0; r < kLaneGroups; ++r, row += kWidth) {
      const Float d = Simd::load_half(chunk + L::kD + 2 * row);
      Float dmin = d;
      if constexpr (F::kHasMin) dmin = Simd::load_half(chunk + L::kDmin + 2 * row);
      if constexpr (F::kSubScales == SubScales::None) {
        scale[0][r] = d;
        if constexpr (F::kHasMin) minimum[0][r] = dmin;
      } else {
        const std::byte* planes = chunk + L::kSubScales + row;
#pragma GCC unroll 16
        for (int g = 0; g < kGroups; ++g) {
          scale[g][r] = Simd::mul(d, Simd::to_float(sub_scale<F>(planes, g)));
          if constexpr (F::kHasMin) {
            minimum[g][r] = Simd::mul(dmin, Simd::to_float(sub_scale<F>(planes, kGroups + g)));
          }
        }
      }
    }
  }
};

}  // namespace
}  // namespace qwend::cpu
