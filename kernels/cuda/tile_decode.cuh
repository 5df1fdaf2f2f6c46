// A block format's tiles as FP32 values: what is exact, where products need not be fast.
#pragma once
#include <cstdint>

#include "kernels/cuda/tile_format.cuh"

namespace qwend::cuda {

// One warp decodes one tile; put(row in the tile, first of 4 columns in the tile, 4 values).
template <class F, class Put>
__device__ void decode_tile(const TileShare<F>& share, int lane, Put&& put) {
  const int g = lane / 4, c = lane % 4;
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    uint32_t a[4];
    expand<F>(share, s, a);
    const int group = s * 16 / F::kGroup;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float scale = tile_scale<F>(share, r, group), minimum = tile_min<F>(share, r, group);
      const auto value = [&](float code) {
        const float product = __fmul_rn(scale, code);
        return F::kHasMin ? __fsub_rn(product, minimum) : product;
      };
      put(g + 8 * r, 16 * s + 4 * c,
          float4{value(low_half(a[r])), value(high_half(a[r])), value(low_half(a[2 + r])),
                 value(high_half(a[2 + r]))});
    }
  }
}

template <class F>
__device__ void load_tile(const WeightPart& part, int64_t expert, int64_t row_tile, int64_t col_tile,
                          int lane, TileShare<F>& share) {
  using T = TileFormat<F>;
  const int64_t tile = (expert * part.row_tiles() + row_tile) * part.col_tiles() + col_tile;
  const std::byte* super = nullptr;
  if constexpr (T::kSuper) {
    const int64_t index = (expert * part.row_tiles() + row_tile) * (part.cols / 256) + col_tile / 4;
    super = part.supers + index * kTileRows * T::kSuperBytes;
  }
  load_share<F>(part.data + tile * T::kBytes, super, lane, share);
}

}  // namespace qwend::cuda
