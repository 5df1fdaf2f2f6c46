// A warp's units of a product, and what becomes of their sums.
#pragma once
#include "kernels/cuda/decode_stream.cuh"
#include "kernels/cuda/decode_units.cuh"

namespace qwend::cuda::decode {

// A warp's sums of a row tile, [16 rows]: record (row tile - first of the CTA) + warp. Each warp that begins
// within a row tile adds at most one record to it, so no two are the same.
__device__ __forceinline__ void leave_record(float* records, int32_t record, int lane, float (&sums)[2]) {
  const float low = lanes_sum<4>(sums[0]), high = lanes_sum<4>(sums[1]);
  if (lane % 4 == 0) {
    float* const to = records + record * 16 + lane / 4;
    to[0] = low, to[8] = high;
  }
  sums[0] = sums[1] = 0.0f;
}

template <class Unit>
__device__ __forceinline__ void multiply_units(WeightStream& stream, const ShapeCut& cut, const InputRow& row,
                                               float* records) {
  const int lane = lane_index(), warp = warp_index();
  const int32_t col_begin = cut.share.col_begin, col_end = cut.share.col_end;
  const LaneGroup own;
  int32_t left = cut.warp_begin[warp + 1] - cut.warp_begin[warp], col = cut.warp_col[warp];
  int32_t record = cut.warp_row_tile[warp] - cut.share.first_tile + warp;
  float sums[2] = {};
#pragma unroll 1
  while (left > 0) {
    const int32_t tiles = unit_tiles(Unit::kTiles, col, col_end, left);
    const std::byte* const unit = stream.acquire();
    Unit::add(unit, row, col - col_begin, tiles, own, sums);
    stream.release();
    left -= tiles, col += tiles;
    if (col == col_end) {
      leave_record(records, record++, lane, sums);
      col = col_begin;
    }
  }
  if (col != col_begin) leave_record(records, record, lane, sums);
}

// Sums of this warp's tiles of a product into records. Formats: the block formats that there may be.
template <class Formats>
__device__ __forceinline__ void multiply(WeightStream& stream, const ShapeCut& cut, const InputRow& row,
                                         float* records) {
  const int warp = warp_index();
  if (cut.warp_begin[warp + 1] == cut.warp_begin[warp]) {
    float nothing[2] = {};  // its place is added up with the others'
    if (cut.warp_begin[warp] < cut.share.end)
      leave_record(records, cut.warp_row_tile[warp] - cut.share.first_tile + warp, lane_index(), nothing);
    return;
  }
  if (cut.shape.dtype == DType::F16) return multiply_units<HalfUnit>(stream, cut, row, records);
  Formats::for_each([&]<class F>() {
    if (cut.shape.dtype == F::kType) multiply_units<BlockUnit<F>>(stream, cut, row, records);
  });
}

// Adds up the records of each row tile in the order of the warps, times the input's scale: body(sums of two
// rows of the matrix, the first row, the tile). tiles: the cut's. All threads; the last ones have the most to
// do, as the first ones are on their way to the next input row, which takes them longer.
template <class Body>
__device__ __forceinline__ void for_sums(const ShapeCut& cut, const TileSums* tiles, const float* records,
                                         float scale, const Body& body) {
#pragma unroll 1
  for (int32_t i = kThreads - 1 - static_cast<int32_t>(threadIdx.x); i < cut.row_tiles * 8; i += kThreads) {
    const int32_t tile = i / 8, r = i % 8 * 2;
    const TileSums to = tiles[tile];
    float2 sum = make_float2(0.0f, 0.0f);
    const float* record = records + (tile + to.first_warp) * kTileRows + r;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {  // no branches: all are read at once
      const bool there = w < to.warps;
      const float2 v = *reinterpret_cast<const float2*>(record + (there ? w : 0) * kTileRows);
      sum.x += there ? v.x : 0.0f, sum.y += there ? v.y : 0.0f;
    }
    body(make_float2(sum.x * scale, sum.y * scale), to.row + r, to);
  }
}

}  // namespace qwend::cuda::decode
