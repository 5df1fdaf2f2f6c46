// What a CTA and its warps multiply by of each part of a matrix.
#pragma once
#include "kernels/cuda/decode_program.h"
#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda::decode {

// Of those that compute; one more may ask for their weights.
inline constexpr int kWarps = kDecodeWarps, kThreads = kWarps * kWarp;
__device__ __forceinline__ void sync_workers() { asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory"); }
inline constexpr int kSuperTiles = kDecodeSuperTiles, kSuperArea = kDecodeSuperArea;

// This CTA's and its warps' shares of a shape, worked out once a launch: divisions are slow.
struct ShapeCut {
  DecodeShape shape;
  DecodeShare share;
  int32_t width;                   // tiles of a row tile in the share's columns
  int32_t row_tiles;               // that the share touches
  int32_t first_slot, next_slot;   // of the first row tile; of the CTA that goes on with the last one
  int32_t warp_begin[kWarps + 1];  // tiles
  int32_t warp_row_tile[kWarps], warp_col[kWarps];
  uint32_t tile_sums;  // [row_tiles], index of the first
};

// What becomes of a row tile's sums in this CTA.
struct alignas(8) TileSums {
  int32_t row;                // of the matrix
  uint8_t first_warp, warps;  // that have tiles of it; those between may be without
  uint8_t slot, nobodys;      // where sums go; slots that follow and are nobody's
};

struct Product {
  const std::byte* data;
  const std::byte* supers;
  uint32_t cut;  // index
};

__device__ inline void cut_shape(const DecodeShape& shape, ShapeCut& cut) {
  cut.shape = shape;
  cut.share = decode_share(shape, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(gridDim.x));
  const DecodeShare& share = cut.share;
  cut.width = max(share.col_end - share.col_begin, 1);
  const int32_t count = share.end - share.begin;
  cut.row_tiles = count > 0 ? (share.end - 1) / cut.width - share.first_tile + 1 : 0;
  cut.first_slot = 0, cut.next_slot = shape.slots_a_group;
  if (!shape.whole_rows && count > 0) {
    cut.first_slot = share.index - decode_cta_of(shape, share, share.first_tile * cut.width);
    const int32_t last_tile = share.first_tile + cut.row_tiles - 1;
    if ((last_tile + 1) * cut.width > share.end)
      cut.next_slot =
          decode_cta_of(shape, share, share.end) - decode_cta_of(shape, share, last_tile * cut.width);
  }
  // Whole units of FP16, of others whole stretches of 256 columns, where rows are made of those: tiles that
  // share super-scales are quicker together.
  const int32_t whole = min(shape.unit_tiles, kSuperTiles);
  const int32_t step = cut.width % whole == 0 && share.begin % whole == 0 ? whole : 1;
  for (int w = 0; w <= kWarps; ++w) {
    const int32_t even = share.begin + (count * w / kWarps + step / 2) / step * step;
    const int32_t begin = w == kWarps ? share.end : min(even, share.end);
    cut.warp_begin[w] = begin;
    if (w == kWarps) break;
    cut.warp_row_tile[w] = begin / cut.width;
    cut.warp_col[w] = share.col_begin + begin % cut.width;
  }
}

// Tiles of the unit that begins at column tile `col`, at most `unit`, a power of two: units end at its
// multiples.
__device__ __forceinline__ int32_t unit_tiles(int32_t unit, int32_t col, int32_t col_end, int32_t left) {
  return min(min(unit - (col & (unit - 1)), col_end - col), left);
}

// Of one of the share's row tiles, counted from its first.
__device__ inline TileSums tile_sums(const ShapeCut& cut, int32_t tile) {
  const int32_t begin = max((cut.share.first_tile + tile) * cut.width, cut.share.begin);
  const int32_t end = min((cut.share.first_tile + tile + 1) * cut.width, cut.share.end);
  int first = 0, last = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (cut.warp_begin[w] <= begin) first = w;
    if (cut.warp_begin[w] < end) last = w;
  }
  const int32_t slots = cut.shape.slots_a_group;
  const int32_t slot = tile == 0 ? cut.first_slot : 0,
                next = tile + 1 == cut.row_tiles ? cut.next_slot : slots;
  return {cut.shape.first_row + (cut.share.first_tile + tile) * kTileRows, static_cast<uint8_t>(first),
          static_cast<uint8_t>(last - first + 1), static_cast<uint8_t>(cut.share.group * slots + slot),
          static_cast<uint8_t>(next - slot - 1)};
}

}  // namespace qwend::cuda::decode
