// Weight tiles of 16 x 64 in shared memory, as the wide kernels take them: copied there as they lie in device
// memory, then turned into A fragments of mma.m16n8k16 with their scales applied.
//
// Fragments have their columns in natural order (k-low pair 2c, 2c + 1, k-high pair 2c + 8, 2c + 9 of each
// 16), so that activations come from plain rows by ldmatrix. A block format's record gives lane 4g + c
// columns 4c .. 4c + 3 (weights.h): pair c of a step belongs to lane 4g + c / 2, pair c + 4 to lane 4g + 2 +
// c / 2, and of these lanes' registers it is those for their first or second pair as c is even or odd. From
// shared memory a lane reads either owner's words as easily as its own.
//
// Weights become FP16, rounded once or, with a scale of two factors, twice: what expanding them for a library
// rounds too. They are kScaleUp times themselves, to keep small scales clear of FP16's subnormals; up to
// 2,000 fits.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/tile_format.cuh"
#include "kernels/cuda/wide_shape.cuh"

namespace qwend::cuda::wide {

__device__ __forceinline__ __half2 as_half2(uint32_t bits) { return *reinterpret_cast<__half2*>(&bits); }
__device__ __forceinline__ uint32_t bits_of(__half2 pair) { return *reinterpret_cast<uint32_t*>(&pair); }
__device__ __forceinline__ __half2 both(float x) { return __float2half2_rn(x); }

// Bits of a word moved right by a compile-time distance, left where it is negative.
template <int kDistance>
__device__ __forceinline__ uint32_t moved(uint32_t word) {
  return kDistance >= 0 ? word >> (kDistance & 31) : word << (-kDistance & 31);
}

template <class F>
struct BlockTiles {
  using T = TileFormat<F>;
  static constexpr float kScaleUp = 32.0f;
  static constexpr int kSupers = kTileRows * T::kSuperBytes;
  static constexpr int kRecord = T::kBytes + kSupers;  // bytes in shared memory
  static constexpr int kHighWords = T::kHighWords > 0 ? T::kHighWords : 1;

  // The words of a lane's eight pairs a step, j = 0: k-low, 1: k-high; shifted so that the pair of row g
  // comes first.
  struct Share {
    uint32_t low[2][T::kLowBits == 2 ? 2 : 4];
    uint32_t high[2][kHighWords];
  };

  // Where a lane's chunk of a row tile's first record lies, and its supers.
  struct Source {
    const std::byte* tiles;
    const std::byte* supers;
    __device__ Source(const Args& args, int row_tile, int lane)
        : tiles(args.part.data + int64_t{row_tile} * args.row_tile_bytes + 16 * lane),
          supers(args.part.supers + int64_t{row_tile} * args.row_tile_super_bytes + 16 * lane) {}
  };
  static constexpr int kBytes = T::kBytes;
  static int64_t row_tile_bytes(const WeightPart& part) { return part.col_tiles() * kBytes; }
  static int64_t row_tile_super_bytes(const WeightPart& part) { return part.cols / 256 * kSupers; }

  // By one warp: the record of column tile `tile`, `below` row tiles below the source's.
  __device__ static void copy(const Args& args, const Source& source, int below, int tile, int lane,
                              std::byte* record) {
    const std::byte* const from =
        source.tiles + int64_t{below} * args.row_tile_bytes + int64_t{tile} * kBytes;
    record += 16 * lane;
#pragma unroll
    for (int i = 0; i < (kRecord + 511) / 512; ++i) {
      const int at = 16 * lane + 512 * i;
      if constexpr (kSupers == 0) {
        if (at < kRecord) copy_async_16(record + 512 * i, from + 512 * i, true);
      } else {
        const std::byte* const super =
            source.supers + int64_t{below} * args.row_tile_super_bytes + int64_t{tile / 4} * kSupers - kBytes;
        if (at < kRecord) copy_async_16(record + 512 * i, (at < kBytes ? from : super) + 512 * i, true);
      }
    }
  }

  __device__ static void load(const std::byte* record, int lane, Share& share) {
    const int odd = lane % 2;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int owner = (lane & ~3) + 2 * j + lane / 2 % 2;
      if constexpr (T::kLowBits == 8) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const uint4 v = *reinterpret_cast<const uint4*>(record + 512 * i + 16 * owner);
          share.low[j][2 * i] = odd != 0 ? v.y : v.x;
          share.low[j][2 * i + 1] = odd != 0 ? v.w : v.z;
        }
      } else if constexpr (T::kLowBits == 4) {
        const int shift = (T::kCodebook ? 16 : 8) * odd;
        const uint4 v = *reinterpret_cast<const uint4*>(record + 16 * owner);
        share.low[j][0] = v.x >> shift, share.low[j][1] = v.y >> shift;
        share.low[j][2] = v.z >> shift, share.low[j][3] = v.w >> shift;
      } else {
        const uint2 v = *reinterpret_cast<const uint2*>(record + 8 * owner);
        share.low[j][0] = v.x >> 4 * odd, share.low[j][1] = v.y >> 4 * odd;
      }
      if constexpr (T::kHighWords == 2) {
        const uint2 v = *reinterpret_cast<const uint2*>(record + T::kLowBytes + 8 * owner);
        share.high[j][0] = v.x >> 4 * odd, share.high[j][1] = v.y >> 4 * odd;
      } else if constexpr (T::kHighWords == 1) {
        share.high[j][0] = *reinterpret_cast<const uint32_t*>(record + T::kLowBytes + 4 * owner) >> 2 * odd;
      }
    }
  }

  // The A fragments of steps 2 h and 2 h + 1, times kScaleUp.
  template <int h>
  __device__ static void fragments(const std::byte* record, const Share& share, int lane,
                                   uint32_t (&a)[2][4]) {
    const Scale low = scale<h * kGroupsAHalf>(record, lane / 4);
    const Scale high = scale<h * kGroupsAHalf>(record, lane / 4 + 8);
    step<2 * h>(share, low, high, a[0]);
    if constexpr (kGroupsAHalf == 1) {
      step<2 * h + 1>(share, low, high, a[1]);
    } else {
      step<2 * h + 1>(share, scale<2 * h + 1>(record, lane / 4), scale<2 * h + 1>(record, lane / 4 + 8),
                      a[1]);
    }
  }

 private:
  static constexpr int kGroupsAHalf = 32 / F::kGroup;

  struct Scale {
    __half2 factor, minus;  // kScaleUp times scale and -minimum, each in both halves
  };

  // Of one row and a group of the tile. Integer multipliers become 1024 + byte, then 32 times themselves,
  // exactly; their product with d is rounded.
  template <int kGroup>
  __device__ static Scale scale(const std::byte* record, int row) {
    const std::byte* const at = record + T::kScales + row * T::kScaleBytes;
    if constexpr (!T::kSuper && !F::kHasMin) {
      const __half2 d = __half2half2(reinterpret_cast<const __half*>(at)[kGroup]);
      return {__hmul2(d, both(kScaleUp)), d};
    } else if constexpr (!T::kSuper) {
      const __half2 d =
          __hmul2(reinterpret_cast<const __half2*>(at)[kGroup], __floats2half2_rn(kScaleUp, -kScaleUp));
      return {__low2half2(d), __high2half2(d)};
    } else {
      uint32_t word;
      if constexpr (T::kScaleBytes == 4) {
        word = *reinterpret_cast<const uint32_t*>(at);
      } else {
        word = *reinterpret_cast<const uint16_t*>(at);
      }
      const std::byte* const super = record + T::kBytes + row * T::kSuperBytes;
      if constexpr (!F::kHasMin) {
        constexpr bool kSigned =
            F::kSubScales != quant::SubScales::U4 && F::kSubScales != quant::SubScales::U6;
        if constexpr (kSigned) word ^= 0x80808080u;
        const __half2 bytes = as_half2(__byte_perm(word, kMagic >> 8, 0x4040u + 0x0101u * kGroup));
        const __half2 multiplier =
            __hfma2(bytes, both(kScaleUp), both(-kScaleUp * (kSigned ? 1024 + 128 : 1024)));
        const __half2 factor = __hmul2(multiplier, __half2half2(*reinterpret_cast<const __half*>(super)));
        return {factor, factor};
      } else {
        uint32_t bytes;  // 1024 + scale, 1024 + minimum
        if constexpr (F::kGroup == 16) {
          const uint32_t nibbles = __byte_perm(word, 0, 0x4040u + 0x0101u * kGroup);
          bytes = (nibbles & 15u) | (nibbles >> 4 & 0x000f0000u) | kMagic;
        } else {
          bytes = __byte_perm(word, kMagic >> 8, 0x4240u + 0x0101u * kGroup);
        }
        const __half2 multipliers = __hfma2(as_half2(bytes), __floats2half2_rn(kScaleUp, -kScaleUp),
                                            __floats2half2_rn(-kScaleUp * 1024, kScaleUp * 1024));
        const __half2 d = __hmul2(multipliers, *reinterpret_cast<const __half2*>(super));
        return {__low2half2(d), __high2half2(d)};
      }
    }
  }

  // Code - zero of pair (j, row g or g + 8) of step s, exactly.
  template <int s, int j, int r>
  __device__ static __half2 codes(const Share& share) {
    if constexpr (T::kLowBits == 8) {
      return __hsub2(as_half2(magic_bytes(share.low[j][s], r != 0)), both(1024 + T::kZero));
    } else {
      // The second row's codes stay 4 bits up where the significand has room: 1024 + 16 code, one shift less.
      constexpr int kAt = T::kLowBits == 4 && 4 * r + F::kBits <= 10 ? 4 * r : 0;
      constexpr int kLowFrom = T::kLowBits == 4 ? 4 * r : 8 * (s % 2) + 2 * r;
      constexpr uint32_t kLowMask = 0x00010001u * ((1u << T::kLowBits) - 1) << kAt;
      uint32_t code = (moved<kLowFrom - kAt>(share.low[j][T::kLowBits == 4 ? s : s / 2]) & kLowMask) | kMagic;
      if constexpr (T::kHighBits > 0) {
        constexpr int kTo = kAt + T::kLowBits;
        constexpr int kFrom = T::kHighBits == 2 ? 8 * (s % 2) + 2 * r : 4 * s + r;
        constexpr uint32_t kMask = 0x00010001u * ((1u << T::kHighBits) - 1) << kTo;
        code |= moved<kFrom - kTo>(share.high[j][T::kHighBits == 2 ? s / 2 : 0]) & kMask;
      }
      if constexpr (kAt == 0) return __hsub2(as_half2(code), both(1024 + T::kZero));
      return __hfma2(as_half2(code), both(1.0f / (1 << kAt)), both(-(1024.0f / (1 << kAt) + T::kZero)));
    }
  }

  template <int s, int j>
  __device__ static void look_up(const Share& share, __half2 (&pairs)[2]) {
    constexpr uint32_t b0 = codebook_word<F>(0), b1 = codebook_word<F>(1), b2 = codebook_word<F>(2),
                       b3 = codebook_word<F>(3);
    const uint32_t nibbles = share.low[j][s];
    const uint32_t low = __byte_perm(b0, b1, nibbles & 0x7777u),
                   high = __byte_perm(b2, b3, nibbles & 0x7777u);
    const uint32_t bytes = __byte_perm(low, high, (nibbles & 0x8888u) >> 1 | 0x3210u);
    pairs[0] = __hsub2(as_half2(magic_bytes(bytes, false)), both(1024 + T::kZero));
    pairs[1] = __hsub2(as_half2(magic_bytes(bytes, true)), both(1024 + T::kZero));
  }

  template <int s>
  __device__ static void step(const Share& share, const Scale& low, const Scale& high, uint32_t (&a)[4]) {
    __half2 pairs[2][2];  // [j][row g, g + 8]
    if constexpr (T::kCodebook) {
      look_up<s, 0>(share, pairs[0]);
      look_up<s, 1>(share, pairs[1]);
    } else {
      pairs[0][0] = codes<s, 0, 0>(share), pairs[0][1] = codes<s, 0, 1>(share);
      pairs[1][0] = codes<s, 1, 0>(share), pairs[1][1] = codes<s, 1, 1>(share);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Scale& scale = i % 2 == 0 ? low : high;
      const __half2 pair = pairs[i / 2][i % 2];
      a[i] = bits_of(F::kHasMin ? __hfma2(pair, scale.factor, scale.minus) : __hmul2(pair, scale.factor));
    }
  }
};

// Row-major FP16: 16 rows of 128 bytes, chunks of 16 bytes swizzled by the row.
struct HalfTiles {
  static constexpr float kScaleUp = 1.0f;
  static constexpr int kRecord = kTileRows * kTileCols * 2;
  struct Share {};

  static constexpr int kBytes = kTileCols * 2;
  static int64_t row_tile_bytes(const WeightPart& part) { return padded_width(part.cols) * 2 * kTileRows; }
  static int64_t row_tile_super_bytes(const WeightPart&) { return 0; }
  struct Source {
    const std::byte* tiles;  // the lane's chunk of row lane / 8
    int rows;                // from there on
    __device__ Source(const Args& args, int row_tile, int lane)
        : tiles(args.part.data + int64_t{row_tile} * args.row_tile_bytes +
                lane / 8 * (args.row_tile_bytes / kTileRows) + lane % 8 * 16),
          rows(static_cast<int>(args.part.rows) - row_tile * kTileRows - lane / 8) {}
  };
  __device__ static void copy(const Args& args, const Source& source, int below, int tile, int lane,
                              std::byte* record) {
    const std::byte* const from =
        source.tiles + int64_t{below} * args.row_tile_bytes + int64_t{tile} * kBytes;
#pragma unroll
    for (int i = 0; i < 4;
         ++i) {  // rows lane / 8 + 4 i; beyond the last nothing comes, and nothing is written
      const int row = lane / 8 + 4 * i;
      if (below * kTileRows + 4 * i < source.rows) {
        copy_async_16(record + row * 128 + ((lane % 8 ^ row % 8) << 4), from + i * (args.row_tile_bytes / 4),
                      true);
      }
    }
  }
  __device__ static void load(const std::byte*, int, Share&) {}
  template <int h>
  __device__ static void fragments(const std::byte* record, const Share&, int lane, uint32_t (&a)[2][4]) {
    const std::byte* const row = record + lane % 16 * 128;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int chunk = 2 * (2 * h + i) + lane / 16;
      load_matrices(a[i], row + ((chunk ^ lane % 8) << 4));
    }
  }
};

}  // namespace qwend::cuda::wide
