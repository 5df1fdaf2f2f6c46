// A block format's 16 x 64 weight tile: where its bits lie, and how a lane turns them into tensor-core
// fragments.
//
// One tile is one record: the low bits of all codes, their high bits, then the scales; so the loads of a warp
// are contiguous. In words of a lane (weights.h says which weights it owns; fragment register i of step s,
// elements lo/hi):
//   8-bit codes    8 words, step s owns words 2s and 2s + 1: bytes a0.lo a0.hi a1.lo a1.hi | a2.lo ...
//   4 low bits     4 words, step s owns word s: register i at bits 4i (lo) and 16 + 4i (hi), so that one mask
//   takes a pair codebooks      4 words, step s owns word s: nibbles in order a0.lo a0.hi a1.lo ..., as byte
//   look-ups want them 2 bits         2 words, step s owns half of word s / 2: pair p = 4 (s % 2) + i at bits
//   2p and 16 + 2p 1 high bit     1 word: pair p = 4 s + i at bits p and 16 + p
// Scales of formats of 32: [16 rows][2 groups] d, or (d, m). Of formats of 256: [16 rows] bytes of sub-scales
// (then minima), and d (and dmin) of each 256 columns apart, in WeightPart::supers.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/weights.h"
#include "kernels/quant/formats.h"

namespace qwend::cuda {

// 1024 + n has n in the lowest bits of its FP16 significand: 0x6400 | n is how codes become numbers.
inline constexpr uint32_t kMagic = 0x64006400u;

template <class F>
struct TileFormat {
  static constexpr bool kCodebook = requires { F::kCodebook; };
  static constexpr bool kSuper = F::kBlock == 256;
  static constexpr int kLowBits = F::kBits == 8 ? 8 : F::kBits >= 4 ? 4 : 2;
  static constexpr int kHighBits = F::kBits - kLowBits;
  static constexpr int kLowWords = kLowBits, kHighWords = kHighBits;  // a lane
  static constexpr int kGroups = kTileCols / F::kGroup;               // a row of the tile
  static constexpr int kLowBytes = 128 * kLowWords, kHighBytes = 128 * kHighWords;
  static constexpr int kSubBytes =
      kGroups * (F::kHasMin && F::kGroup == 32 ? 2 : 1);  // a row, formats of 256
  static constexpr int kScaleBytes = kSuper ? kSubBytes : kGroups * (F::kHasMin ? 4 : 2);  // a row
  static constexpr int kScales = kLowBytes + kHighBytes;                                   // where they start
  static constexpr int kBytes = kScales + kTileRows * kScaleBytes;
  static constexpr int kSuperBytes = kSuper ? (F::kHasMin ? 4 : 2) : 0;  // a row and 256 columns
  // What the pair 1024 + code has to lose: the zero point, or the offset of the codebook's bytes.
  static constexpr int kZero = kCodebook ? 128 : F::kZero;
  static_assert(kHighBits == 0 || kHighBits == 1 || kHighBits == 2);
  static_assert(kBytes % 16 == 0);
};

// The codebook as bytes offset by 128, 4 to a word.
template <class F>
constexpr uint32_t codebook_word(int i) {
  uint32_t word = 0;
  for (int j = 0; j < 4; ++j) word |= uint32_t(quant::kIq4Codebook[4 * i + j] + 128) << 8 * j;
  return word;
}

// A lane's share of a tile, as loaded.
template <class F>
struct TileShare {
  using T = TileFormat<F>;
  uint32_t low[T::kLowWords];
  uint32_t high[T::kHighWords > 0 ? T::kHighWords : 1];
  uint32_t scale[2][T::kScaleBytes > 4 ? 2 : 1];  // of rows g and g + 8
  uint32_t super[2];                              // d, dmin of rows g and g + 8
};

// Weights are read once: past L1, first out of L2.
__device__ inline uint4 stream_load16(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
__device__ inline uint2 stream_load8(const void* p) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
__device__ inline uint32_t stream_load4(const void* p) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}

// tile: the record; super: the 16 entries of the tile's 256 columns (formats of 256).
template <class F>
__device__ inline void load_share(const std::byte* tile, const std::byte* super, int lane,
                                  TileShare<F>& share) {
  using T = TileFormat<F>;
  const int g = lane / 4;
  if constexpr (T::kLowWords >= 4) {
#pragma unroll
    for (int i = 0; i < T::kLowWords / 4; ++i) {
      const uint4 v = stream_load16(tile + 512 * i + 16 * lane);
      share.low[4 * i] = v.x, share.low[4 * i + 1] = v.y, share.low[4 * i + 2] = v.z,
                    share.low[4 * i + 3] = v.w;
    }
  } else {
    const uint2 v = stream_load8(tile + 8 * lane);
    share.low[0] = v.x, share.low[1] = v.y;
  }
  if constexpr (T::kHighWords == 2) {
    const uint2 v = stream_load8(tile + T::kLowBytes + 8 * lane);
    share.high[0] = v.x, share.high[1] = v.y;
  } else if constexpr (T::kHighWords == 1) {
    share.high[0] = stream_load4(tile + T::kLowBytes + 4 * lane);
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const std::byte* scale = tile + T::kScales + (g + 8 * r) * T::kScaleBytes;
    if constexpr (T::kScaleBytes == 8) {
      const uint2 v = __ldg(reinterpret_cast<const uint2*>(scale));
      share.scale[r][0] = v.x, share.scale[r][1] = v.y;
    } else if constexpr (T::kScaleBytes == 4) {
      share.scale[r][0] = __ldg(reinterpret_cast<const uint32_t*>(scale));
    } else {
      share.scale[r][0] = __ldg(reinterpret_cast<const uint16_t*>(scale));
    }
    if constexpr (T::kSuperBytes == 4) {
      share.super[r] = __ldg(reinterpret_cast<const uint32_t*>(super + (g + 8 * r) * 4));
    } else if constexpr (T::kSuperBytes == 2) {
      share.super[r] = __ldg(reinterpret_cast<const uint16_t*>(super + (g + 8 * r) * 2));
    }
  }
}

__device__ inline uint32_t minus(uint32_t pair, uint32_t zero) {
  const __half2 d =
      __hsub2(*reinterpret_cast<const __half2*>(&pair), *reinterpret_cast<const __half2*>(&zero));
  return *reinterpret_cast<const uint32_t*>(&d);
}

// 1024 + 16 code to code - zero, exactly.
template <int kZero>
__device__ inline uint32_t sixteenth_minus(uint32_t pair) {
  const __half2 d = __hfma2(*reinterpret_cast<const __half2*>(&pair), __float2half2_rn(0.0625f),
                            __float2half2_rn(-64.0f - kZero));
  return *reinterpret_cast<const uint32_t*>(&d);
}
// To the right, or to the left where `by` is negative; a constant once unrolled.
__device__ inline uint32_t shifted(uint32_t word, int by) { return by >= 0 ? word >> by : word << -by; }

// Bytes 0, 1 (or 2, 3) of a word as 1024 + byte.
__device__ inline uint32_t magic_bytes(uint32_t word, bool upper) {
  return __byte_perm(word, kMagic >> 8, upper ? 0x4342 : 0x4140);
}

// The codebook's bytes for the low four nibbles of a word: PRMT selects with three bits of each.
template <class F>
__device__ inline uint32_t codebook_bytes(uint32_t nibbles) {
  constexpr uint32_t b0 = codebook_word<F>(0), b1 = codebook_word<F>(1), b2 = codebook_word<F>(2),
                     b3 = codebook_word<F>(3);
  const uint32_t low = __byte_perm(b0, b1, nibbles & 0x7777u), high = __byte_perm(b2, b3, nibbles & 0x7777u);
  return __byte_perm(low, high, (nibbles & 0x8888u) >> 1 | 0x3210u);
}

// The weights of step s (16 columns) as the A fragment of mma.m16n8k16: code - zero, exact; scales are not
// applied.
template <class F>
__device__ inline void expand(const TileShare<F>& share, int s, uint32_t (&a)[4]) {
  using T = TileFormat<F>;
  constexpr uint32_t kOffset = kMagic + 0x00010001u * T::kZero;
  if constexpr (T::kLowBits == 8) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = minus(magic_bytes(share.low[2 * s + i / 2], i % 2 != 0), kOffset);
  } else if constexpr (T::kCodebook) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t bytes = codebook_bytes<F>(share.low[s] >> 16 * half);
      a[2 * half] = minus(magic_bytes(bytes, false), kOffset);
      a[2 * half + 1] = minus(magic_bytes(bytes, true), kOffset);
    }
  } else if constexpr (T::kLowBits == 4) {
    // Registers 0 and 2 take their nibbles as they lie after one shift; 1 and 3 take theirs 16 times as
    // large, which the subtraction makes good: shifts for half of them, and no more operations.
    const uint32_t pairs[2] = {share.low[s], share.low[s] >> 8};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int up = 4 * (i % 2);
      uint32_t code = pairs[i / 2] & 0x000f000fu << up | kMagic;
      if constexpr (T::kHighBits == 2)
        code |= shifted(share.high[s / 2], 2 * (4 * (s % 2) + i) - 4 - up) & 0x00300030u << up;
      if constexpr (T::kHighBits == 1) code |= shifted(share.high[0], 4 * s + i - 4 - up) & 0x00100010u << up;
      a[i] = i % 2 == 0 ? minus(code, kOffset) : sixteenth_minus<T::kZero>(code);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      uint32_t code = share.low[s / 2] >> 2 * (4 * (s % 2) + i) & 0x00030003u;
      if constexpr (T::kHighBits == 2)
        code |= (share.high[s / 2] >> 2 * (4 * (s % 2) + i) & 0x00030003u) << T::kLowBits;
      if constexpr (T::kHighBits == 1) code |= (share.high[0] >> (4 * s + i) & 0x00010001u) << T::kLowBits;
      a[i] = minus(code | kMagic, kOffset);
    }
  }
}

__device__ inline float low_half(uint32_t pair) { return __half2float(__ushort_as_half(pair & 0xffffu)); }
__device__ inline float high_half(uint32_t pair) { return __half2float(__ushort_as_half(pair >> 16)); }

// Scale and minimum of group `group` of the tile's row g (r = 0) or g + 8 (r = 1); block_format.h's, exactly.
template <class F>
__device__ inline float tile_scale(const TileShare<F>& share, int r, int group) {
  using T = TileFormat<F>;
  if constexpr (!T::kSuper) {
    if constexpr (F::kHasMin) return low_half(share.scale[r][group]);
    return group == 0 ? low_half(share.scale[r][0]) : high_half(share.scale[r][0]);
  } else {
    const uint32_t byte = share.scale[r][0] >> 8 * group & 0xffu;
    float multiplier;
    if constexpr (F::kSubScales == quant::SubScales::U4) {
      multiplier = static_cast<float>(byte & 15u);
    } else if constexpr (F::kSubScales == quant::SubScales::U6) {
      multiplier = static_cast<float>(byte);
    } else {
      multiplier = static_cast<float>(static_cast<int8_t>(byte));
    }
    return __fmul_rn(low_half(share.super[r]), multiplier);
  }
}
template <class F>
__device__ inline float tile_min(const TileShare<F>& share, int r, int group) {
  using T = TileFormat<F>;
  if constexpr (!F::kHasMin) {
    return 0.0f;
  } else if constexpr (!T::kSuper) {
    return high_half(share.scale[r][group]);
  } else {
    uint32_t multiplier;
    if constexpr (F::kSubScales == quant::SubScales::U4) {
      multiplier = share.scale[r][0] >> (8 * group + 4) & 15u;
    } else {
      multiplier = share.scale[r][0] >> 8 * (T::kGroups + group) & 0xffu;
    }
    return __fmul_rn(high_half(share.super[r]), static_cast<float>(multiplier));
  }
}

// Calls visit.template operator()<F>() for the block format of this id.
template <class Visit>
void with_block_format(DType dtype, Visit&& visit) {
  quant::BlockFormats::for_each([&]<class F>() {
    if (F::kType == dtype) visit.template operator()<F>();
  });
}

inline size_t tile_bytes(DType dtype) {
  size_t bytes = 0;
  with_block_format(dtype, [&]<class F>() { bytes = TileFormat<F>::kBytes; });
  return bytes;
}
inline size_t super_bytes(DType dtype) {  // of one row and 256 columns
  size_t bytes = 0;
  with_block_format(dtype, [&]<class F>() { bytes = TileFormat<F>::kSuperBytes; });
  return bytes;
}

}  // namespace qwend::cuda
