// What a warp does with a unit of its stream: 16 rows times the columns of up to eight tiles.
//
// One token fills two of the eight columns of a tensor core's B: what its values have in their high and in
// their low part. So four groups of columns, each with a scale of its own, go into two columns of B each, all
// others zero, and a product leaves the sums of all four beside each other: lane c of four has group c's, and
// scales it. Four times fewer scalings than one group after the other, and no sums that nobody reads.
#pragma once
#include "kernels/cuda/decode_row.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/tile_bytes.cuh"

namespace qwend::cuda::decode {

// Where a lane stands in B: column lane / 4 is a part (high, low) of one of four groups.
struct LaneGroup {
  int group, part, c;
  uint32_t mask[4];  // all ones where `group` is the index
  __device__ LaneGroup() : group(lane_index() / 8), part(lane_index() / 4 % 2), c(lane_index() % 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) mask[i] = group == i ? ~0u : 0u;
  }
};

// Units: add the products of `tiles` tiles to the lane's sums of rows g and g + 8; rows' sums are those of
// four lanes. column: first tile of the unit, counted from the stretch's first. Lanes of groups that are not
// there read past the row (kRowSlack), and what they read is masked.

// FP16 tiles lie as boxes do (tensor_map.h): chunk k of row r, 16 bytes, at 128 r + 16 (k ^ r % 8).
struct HalfUnit {
  static constexpr int kTiles = decode_unit_tiles(kDecodeHalfTileBytes);
  __device__ __forceinline__ static void add(const std::byte* unit, const InputRow& row, int32_t column,
                                             int32_t tiles, const LaneGroup& own, float (&sums)[2]) {
    tiles == kTiles ? add_tiles<true>(unit, row, column, tiles, own, sums)
                    : add_tiles<false>(unit, row, column, tiles, own, sums);
  }

 private:
  static constexpr int kGroups = kTiles * kTileCols / static_cast<int>(kRowGroup);
  static_assert(kGroups == 4);

  template <bool kAll>
  __device__ __forceinline__ static void add_tiles(const std::byte* unit, const InputRow& row, int32_t column,
                                                   int32_t tiles, const LaneGroup& own, float (&sums)[2]) {
    const int count = kAll ? kGroups : 2 * tiles, lane = lane_index();
    const uint4 x = *reinterpret_cast<const uint4*>(row.halves + (2 * column + own.group) * kHalfGroupBytes +
                                                    own.part * (kHalfGroupBytes / 2) + 16 * own.c);
    // Of 16 columns lanes 0 - 15 give the addresses of the rows' first chunks, the others of their second
    // ones. A step further on, all chunks' numbers differ in the same bits.
    const int at = lane % 16 * 128 + (lane / 16 ^ lane % 8) * 16;
    float products[2][4] = {};
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
      if (i >= count) break;
      const std::byte* const tile = unit + i / 2 * kDecodeHalfTileBytes;
      uint32_t a[2][4];
#pragma unroll
      for (int step = 0; step < 2; ++step) load_matrices(a[step], tile + (at ^ (i % 2 * 64 + step * 32)));
      const uint32_t m = own.mask[i];
      mma_f16(products[i % 2], a[0], {x.x & m, x.y & m});
      mma_f16(products[i % 2], a[1], {x.z & m, x.w & m});
    }
    const float scale = own.c < count ? row.half_scales[2 * column + own.c] : 0.0f;
#pragma unroll
    for (int r = 0; r < 2; ++r)
      sums[r] += scale * ((products[0][2 * r] + products[0][2 * r + 1]) +
                          (products[1][2 * r] + products[1][2 * r + 1]));
  }
};

// A tile of a block format out of the ring, as a lane's share.
template <class F>
__device__ __forceinline__ void read_codes(const std::byte* tile, int lane, TileShare<F>& share) {
  using T = TileFormat<F>;
  if constexpr (T::kLowWords >= 4) {
#pragma unroll
    for (int i = 0; i < T::kLowWords / 4; ++i) {
      const uint4 v = *reinterpret_cast<const uint4*>(tile + 512 * i + 16 * lane);
      share.low[4 * i] = v.x, share.low[4 * i + 1] = v.y, share.low[4 * i + 2] = v.z,
                    share.low[4 * i + 3] = v.w;
    }
  } else {
    const uint2 v = *reinterpret_cast<const uint2*>(tile + 8 * lane);
    share.low[0] = v.x, share.low[1] = v.y;
  }
  if constexpr (T::kHighWords == 2) {
    const uint2 v = *reinterpret_cast<const uint2*>(tile + T::kLowBytes + 8 * lane);
    share.high[0] = v.x, share.high[1] = v.y;
  } else if constexpr (T::kHighWords == 1) {
    share.high[0] = *reinterpret_cast<const uint32_t*>(tile + T::kLowBytes + 4 * lane);
  }
}

// Codes times bytes are exact in INT32: 255 * 32639 * 32 < 2^28.
template <class F>
struct BlockUnit {
  using T = TileFormat<F>;
  static constexpr int kTiles = decode_unit_tiles(T::kBytes);
  static constexpr int kSpan = F::kGroup == 32 ? 2 : 1;            // tiles that have four groups a row
  static constexpr int kSupersBytes = kTileRows * T::kSuperBytes;  // of a row tile and 256 columns

  __device__ __forceinline__ static void add(const std::byte* unit, const InputRow& row, int32_t column,
                                             int32_t tiles, const LaneGroup& own, float (&sums)[2]) {
    const std::byte* const first = T::kSuper ? unit + kSuperArea : unit;
    if (tiles == kTiles) {  // all super-scales' tiles are there
#pragma unroll 1            // half of the code: 8B Q4_K_M 465 -> 468 tokens/s
      for (int b = 0; b < kTiles / kSuperTiles; ++b)
        add_tiles<kSuperTiles>(first + b * kSuperTiles * T::kBytes, unit + b * kSupersBytes, row,
                               column + b * kSuperTiles, kSuperTiles, own, sums);
      return;
    }
    const std::byte* supers = unit;
#pragma unroll 1
    for (int done = 0, count; done < tiles; done += count, supers += kSupersBytes) {
      const int32_t at = column + done;
      count = min(kSuperTiles - (at & (kSuperTiles - 1)), tiles - done);
      if (count == kSuperTiles) {
        add_tiles<kSuperTiles>(first + done * T::kBytes, supers, row, at, count, own, sums);
      } else if (count == 2) {
        add_tiles<2>(first + done * T::kBytes, supers, row, at, count, own, sums);
      } else {
        add_tiles<0>(first + done * T::kBytes, supers, row, at, count, own, sums);
      }
    }
  }

 private:
  struct Scaled {  // of rows g and g + 8
    float products[2], minima[2];
  };

  // Tiles that share super-scales: kCount, or `tiles` where that is 0.
  template <int kCount>
  __device__ __forceinline__ static void add_tiles(const std::byte* first, const std::byte* supers,
                                                   const InputRow& row, int32_t column, int32_t tiles,
                                                   const LaneGroup& own, float (&sums)[2]) {
    const int count = kCount > 0 ? kCount : tiles;
    Scaled scaled{};
#pragma unroll(kCount > 0 ? 2 : 1)
    for (int i = 0; i < count; i += kSpan)
      add_span<(kCount > 0)>(first, row, column + i, i, count, own, scaled);
    supers += lane_index() / 4 * T::kSuperBytes;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (T::kSuperBytes == 4) {
        const uint32_t super = *reinterpret_cast<const uint32_t*>(supers + 8 * r * T::kSuperBytes);
        sums[r] += low_half(super) * scaled.products[r] - high_half(super) * scaled.minima[r];
      } else if constexpr (T::kSuperBytes == 2) {
        sums[r] += low_half(*reinterpret_cast<const uint16_t*>(supers + 8 * r * T::kSuperBytes)) *
                   scaled.products[r];
      } else {
        sums[r] += scaled.products[r] - scaled.minima[r];
      }
    }
  }

  // Tiles i .. i + kSpan - 1 of those, as far as there are `count`; column: of tile i. kAll: there are.
  template <bool kAll>
  __device__ __forceinline__ static void add_span(const std::byte* unit, const InputRow& row, int32_t column,
                                                  int i, int count, const LaneGroup& own, Scaled& scaled) {
    const int lane = lane_index();
    int32_t products[2][4] = {};
    const std::byte* const x = row.bytes + (column + own.group / (4 / kSpan)) * kByteTileBytes +
                               own.part * (kByteTileBytes / 2) + 16 * own.c;
    uint2 part{};
    if constexpr (kSpan == 2) {
      part = *reinterpret_cast<const uint2*>(x + own.group % 2 * 8);
    } else {
      part.x = part.y = *reinterpret_cast<const uint32_t*>(x + own.group * 4);
    }
#pragma unroll
    for (int t = 0; t < kSpan; ++t) {
      if (!kAll && i + t >= count) break;
      TileShare<F> share;
      read_codes<F>(unit + (i + t) * T::kBytes, lane, share);
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // 32 columns
        uint32_t a[4];
        byte_codes<F>(share, 2 * half, a[0], a[1]);
        byte_codes<F>(share, 2 * half + 1, a[2], a[3]);
        const int low = kSpan == 2 ? 2 * t + half : 2 * half, high = kSpan == 2 ? low : low + 1;
        mma_u8s8(products[half], a, {part.x & own.mask[low], part.y & own.mask[high]});
      }
    }
    const int tile = i + (kSpan == 2 ? own.c / 2 : 0), group = kSpan == 2 ? own.c % 2 : own.c;
    if (!kAll && tile >= count) return;
    const RowGroup in = row.groups[2 * column + (kSpan == 2 ? own.c : own.c / 2)];
    const float total = kSpan == 2 ? in.total : own.c % 2 == 0 ? in.first_total : in.second_total;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const GroupScale s = group_scale<F>(unit + tile * T::kBytes, lane / 4 + 8 * r, group);
      const int32_t sum =
          256 * (products[0][2 * r] + products[1][2 * r]) + (products[0][2 * r + 1] + products[1][2 * r + 1]);
      float product = in.scale * static_cast<float>(sum);
      if constexpr (T::kZero != 0) product = fmaf(-static_cast<float>(T::kZero), total, product);
      scaled.products[r] = fmaf(s.scale, product, scaled.products[r]);
      if constexpr (F::kHasMin) scaled.minima[r] = fmaf(s.minimum, total, scaled.minima[r]);
    }
  }
};

}  // namespace qwend::cuda::decode
