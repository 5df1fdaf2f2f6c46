// A block format's tile as integer tensor cores read it: codes as bytes, two or three instructions for four
// of them where FP16 takes two for each pair, and the scale of one group a lane.
#pragma once
#include "kernels/cuda/tile_format.cuh"

namespace qwend::cuda {

// The codes of step s (16 columns) as unsigned bytes, zero points not subtracted: words of rows g and g + 8.
// Of the four columns that a lane owns (weights.h) their bytes hold numbers 0, 2, 1 and 3: the order in which
// a four-bit tile gives them up.
template <class F>
__device__ __forceinline__ void byte_codes(const TileShare<F>& share, int s, uint32_t& row, uint32_t& row8) {
  using T = TileFormat<F>;
  if constexpr (T::kLowBits == 8 || T::kCodebook) {
    uint32_t low, high;  // a0.lo a0.hi a1.lo a1.hi; the same of a2 and a3
    if constexpr (T::kCodebook) {
      low = codebook_bytes<F>(share.low[s]), high = codebook_bytes<F>(share.low[s] >> 16);
    } else {
      low = share.low[2 * s], high = share.low[2 * s + 1];
    }
    row = __byte_perm(low, high, 0x5140), row8 = __byte_perm(low, high, 0x7362);
  } else {
    // Bits of one kind of all four codes of a row: those of its first pair at bits `from` and from + 16 of a
    // word, of its second pair `apart` further up; they go to bit `to` of each byte.
    const auto gather = [](uint32_t word, int from, int apart, int to, uint32_t ones, uint32_t code) {
      code |= shifted(word, from - to) & 0x00010001u * ones << to;
      return code | (shifted(word, from + apart - to - 8) & 0x01000100u * ones << to);
    };
    if constexpr (T::kLowBits == 4) {
      row = share.low[s] & 0x0f0f0f0fu, row8 = share.low[s] >> 4 & 0x0f0f0f0fu;
    } else {
      const int first = 8 * (s % 2);
      row = gather(share.low[s / 2], first, 4, 0, 3, 0),
      row8 = gather(share.low[s / 2], first + 2, 4, 0, 3, 0);
    }
    if constexpr (T::kHighBits == 2) {
      const int first = 8 * (s % 2);
      row = gather(share.high[s / 2], first, 4, T::kLowBits, 3, row);
      row8 = gather(share.high[s / 2], first + 2, 4, T::kLowBits, 3, row8);
    } else if constexpr (T::kHighBits == 1) {
      row = gather(share.high[0], 4 * s, 2, T::kLowBits, 1, row);
      row8 = gather(share.high[0], 4 * s + 1, 2, T::kLowBits, 1, row8);
    }
  }
}

// What products of a group are multiplied by, and what the group's sum of activations is multiplied by and
// taken off. Of formats of 256: to be multiplied by d and dmin yet.
struct GroupScale {
  float scale, minimum;
};
// tile: in shared memory.
template <class F>
__device__ __forceinline__ GroupScale group_scale(const std::byte* tile, int row, int group) {
  using T = TileFormat<F>;
  const std::byte* const at = tile + T::kScales + row * T::kScaleBytes;
  if constexpr (!T::kSuper && F::kHasMin) {
    const uint32_t pair = *reinterpret_cast<const uint32_t*>(at + 4 * group);
    return {low_half(pair), high_half(pair)};
  } else if constexpr (!T::kSuper) {
    return {low_half(*reinterpret_cast<const uint16_t*>(at + 2 * group)), 0.0f};
  } else if constexpr (F::kSubScales == quant::SubScales::U6) {
    const uint32_t word = *reinterpret_cast<const uint32_t*>(at) >> 8 * group;
    return {static_cast<float>(word & 0xffu), static_cast<float>(word >> 16 & 0xffu)};
  } else {
    const auto byte = static_cast<uint8_t>(at[group]);
    if constexpr (F::kSubScales == quant::SubScales::U4)
      return {static_cast<float>(byte & 15u), static_cast<float>(byte >> 4)};
    return {static_cast<float>(static_cast<int8_t>(byte)), 0.0f};
  }
}

}  // namespace qwend::cuda
