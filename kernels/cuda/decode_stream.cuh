// A warp's share of all matrices of a decode program, as one stream through a ring in shared memory.
//
// The stream's order is fixed: product after product, unit after unit; a unit is up to four neighbouring
// tiles of a row of tiles. The issuing end runs kSlots units ahead of the consuming one and knows nothing of
// phases and barriers, so copies go on while the warp waits for others. Portable (cp.async, sm_80): 12 warps
// keep 60 to 100 KB in flight, several times what 3 TB/s and a latency of 700 ns ask of a multiprocessor (16
// KB).
#pragma once
#include "kernels/cuda/decode_program.h"
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/matmul_skinny.cuh"

namespace qwend::cuda::decode {

inline constexpr int kWarps = kDecodeWarps, kThreads = kWarps * kWarp;
inline constexpr int kUnitTiles = kDecodeUnitTiles;

// This CTA's and its warps' shares of a shape, worked out once a launch: divisions are slow.
struct ShapeCut {
  DecodeShape shape;
  DecodeShare share;
  int32_t width;                   // tiles of a row tile in the share's columns
  int32_t row_tiles;               // that the share touches
  int32_t first_slot, next_slot;   // of the first row tile; of the CTA that goes on with the last one
  int32_t warp_begin[kWarps + 1];  // tiles
  int32_t warp_row_tile[kWarps], warp_col[kWarps];
  uchar2* tile_warps;  // [row_tiles] the first and the last warp that have tiles of it
};

struct Product {
  const std::byte* data;
  const std::byte* supers;
  const ShapeCut* cut;
};

__device__ inline void cut_shape(const DecodeShape& shape, int32_t slots_a_group, ShapeCut& cut) {
  cut.shape = shape;
  cut.share = decode_share(shape, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(gridDim.x));
  const DecodeShare& share = cut.share;
  cut.width = max(share.col_end - share.col_begin, 1);
  const int32_t count = share.end - share.begin;
  cut.row_tiles = count > 0 ? (share.end - 1) / cut.width - share.first_tile + 1 : 0;
  cut.first_slot = 0, cut.next_slot = slots_a_group;
  if (!shape.whole_rows && count > 0) {
    cut.first_slot = share.index - decode_cta_of(shape, share, share.first_tile * cut.width);
    const int32_t last_tile = share.first_tile + cut.row_tiles - 1;
    if ((last_tile + 1) * cut.width > share.end)
      cut.next_slot =
          decode_cta_of(shape, share, share.end) - decode_cta_of(shape, share, last_tile * cut.width);
  }
  for (int w = 0; w <= kWarps; ++w) {
    const int32_t begin = share.begin + count * w / kWarps;
    cut.warp_begin[w] = begin;
    if (w == kWarps) break;
    cut.warp_row_tile[w] = begin / cut.width;
    cut.warp_col[w] = share.col_begin + begin % cut.width;
  }
}

// Tiles of the unit that begins at column tile `col`: units never straddle the 256 columns that share
// super-scales.
__device__ __forceinline__ int32_t unit_tiles(int32_t col, int32_t col_end, int32_t left) {
  return min(min(kUnitTiles - (col & (kUnitTiles - 1)), col_end - col), left);
}

// Warps of one of the share's row tiles, counted from its first. Those between may be without tiles.
__device__ inline uchar2 warps_of(const ShapeCut& cut, int32_t tile) {
  const int32_t begin = max((cut.share.first_tile + tile) * cut.width, cut.share.begin);
  const int32_t end = min((cut.share.first_tile + tile + 1) * cut.width, cut.share.end);
  uchar2 warps{0, 0};
  for (int w = 0; w < kWarps; ++w) {
    if (cut.warp_begin[w] <= begin) warps.x = static_cast<unsigned char>(w);
    if (cut.warp_begin[w] < end) warps.y = static_cast<unsigned char>(w);
  }
  return warps;
}

// kSlots: units of a warp on their way or in use.
template <int kSlots>
class WeightStream {
 public:
  // products: all of the program, in shared memory. ring: kSlots * slot_bytes of this warp.
  __device__ WeightStream(const Product* products, int32_t num_products, std::byte* ring, int32_t slot_bytes)
      : next_(products), end_(products + num_products), ring_(ring), slot_bytes_(slot_bytes) {
#pragma unroll 1
    for (int i = 0; i < kSlots; ++i) issue();
  }

  // Waits for the oldest unit of the stream; all lanes may read it until release().
  __device__ __forceinline__ const std::byte* acquire() {
    copy_async_wait<kSlots - 1>();
    __syncwarp();
    return ring_ + take_;
  }
  // Gives the unit's place to the next one of the stream.
  __device__ __forceinline__ void release() {
    __syncwarp();
    take_ = take_ + slot_bytes_ == kSlots * slot_bytes_ ? 0 : take_ + slot_bytes_;
    issue();
  }

 private:
  __device__ __forceinline__ void issue() {
    if (left_ == 0) begin_product();
    if (left_ > 0) {
      const int32_t tiles = unit_tiles(col_, col_end_, left_), lane = lane_index();
      const uint32_t slot = shared_address(ring_ + put_) + lane * 16;
      if (half_pitch_ !=
          0) {  // FP16: four pieces of each of 16 rows a tile, so that a lane finds its own at 16 * lane
#pragma unroll
        for (int i = 0; i < kUnitTiles; ++i) {
          if (i >= tiles) break;
          copy(slot + 1024 * i, source_ + 64 * i);
          copy(slot + 1024 * i + 512, source_ + 64 * i + half_pitch_);
        }
      } else {
        const int32_t bytes = tiles * tile_bytes_ - lane * 16;
#pragma unroll
        for (int r = 0; r < (kUnitTiles * kMaxDecodeTileBytes + 511) / 512; ++r) {
          if (512 * r < bytes) copy(slot + 512 * r, source_ + 512 * r);
        }
        if (lane * 16 < super_bytes_)
          copy(slot + kUnitTiles * tile_bytes_, supers_ + (col_ / kUnitTiles) * super_bytes_ + lane * 16);
      }
      left_ -= tiles, col_ += tiles;
      source_ += tiles * tile_bytes_;
      if (col_ == col_end_) {
        col_ = col_begin_;
        source_ += row_skip_;
        supers_ += super_row_bytes_;
      }
    }
    copy_async_commit();  // even an empty group: acquire() counts them
    put_ = put_ + slot_bytes_ == kSlots * slot_bytes_ ? 0 : put_ + slot_bytes_;
  }
  __device__ __forceinline__ static void copy(uint32_t to, const std::byte* from) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  }
  // To the next product that has tiles for this warp, if there is one.
  __device__ __forceinline__ void begin_product() {
    const int warp = warp_index(), lane = lane_index();
    for (; left_ == 0 && next_ != end_; ++next_) {
      const ShapeCut& cut = *next_->cut;
      const DecodeShape& s = cut.shape;
      left_ = cut.warp_begin[warp + 1] - cut.warp_begin[warp];
      if (left_ == 0) continue;
      col_ = cut.warp_col[warp];
      col_begin_ = cut.share.col_begin, col_end_ = cut.share.col_end;
      tile_bytes_ = s.tile_bytes, super_bytes_ = s.super_bytes, super_row_bytes_ = s.super_row_bytes;
      half_pitch_ = 8 * s.pitch;
      row_skip_ = s.row_tile_bytes - cut.width * s.tile_bytes;
      const int32_t row_tile = cut.warp_row_tile[warp];
      source_ = next_->data + int64_t{row_tile} * s.row_tile_bytes + int64_t{col_} * s.tile_bytes +
                (half_pitch_ != 0 ? lane / 4 * s.pitch + lane % 4 * 16 : lane * 16);
      supers_ = next_->supers + int64_t{row_tile} * s.super_row_bytes;
    }
  }

  const Product* next_;
  const Product* const end_;
  std::byte* const ring_;
  const int32_t slot_bytes_;
  int32_t put_ = 0, take_ = 0;         // offsets into the ring
  const std::byte* source_ = nullptr;  // this lane's first piece of the next unit
  const std::byte* supers_ = nullptr;
  int32_t left_ = 0, col_ = 0, col_begin_ = 0, col_end_ = 0, tile_bytes_ = 0, super_bytes_ = 0, row_skip_ = 0,
          super_row_bytes_ = 0, half_pitch_ = 0;
};

// ---- products

// The input row of a phase as tensor cores read it: its high and its low plane, FP16, the columns of the
// CTA's stretch. totals: sums over 32 columns each, FP16 as high and low part: [256 columns][part][8 groups].
struct InputPlanes {
  const __half* planes;
  int32_t stride;  // halves from plane to plane
  const __half* totals;
};
inline constexpr int kTotalsOfStretch = 16;  // halves

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
template <class F>
__device__ __forceinline__ void read_scales(const std::byte* tile, const std::byte* supers, int lane,
                                            TileShare<F>& share) {
  using T = TileFormat<F>;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane / 4 + 8 * r;
    const std::byte* const scale = tile + T::kScales + row * T::kScaleBytes;
    if constexpr (T::kScaleBytes == 8) {
      const uint2 v = *reinterpret_cast<const uint2*>(scale);
      share.scale[r][0] = v.x, share.scale[r][1] = v.y;
    } else if constexpr (T::kScaleBytes == 4) {
      share.scale[r][0] = *reinterpret_cast<const uint32_t*>(scale);
    } else {
      share.scale[r][0] = *reinterpret_cast<const uint16_t*>(scale);
    }
    if constexpr (T::kSuperBytes == 4) {
      share.super[r] = *reinterpret_cast<const uint32_t*>(supers + row * 4);
    } else if constexpr (T::kSuperBytes == 2) {
      share.super[r] = *reinterpret_cast<const uint16_t*>(supers + row * 2);
    }
  }
}
// The B fragment of step s: 8 bytes of the lane's plane.
__device__ __forceinline__ void read_plane(const __half* x, int s, int lane, uint32_t (&b)[2]) {
  const uint2 v = *reinterpret_cast<const uint2*>(x + 16 * s + 4 * (lane % 4));
  b[0] = v.x, b[1] = v.y;
}

// Units: add the products of `kTiles` tiles, or of `tiles` where kTiles is 0, to the fragment sums: four at a
// time for speed, others in little code. x: the lane's plane, at the unit's first column; column: of the
// stretch, in tiles.

struct HalfUnit {
  static constexpr int kCols = 32;
  template <int kTiles>
  __device__ __forceinline__ static void add(const std::byte* unit, const __half* x, const InputPlanes&,
                                             int32_t, int32_t tiles, int lane, float (&sums)[4]) {
#pragma unroll(kTiles > 0 ? kTiles : 1)
    for (int i = 0; i < (kTiles > 0 ? kTiles : tiles); ++i) {
      const uint4 low = *reinterpret_cast<const uint4*>(unit + 1024 * i + 16 * lane);
      const uint4 high = *reinterpret_cast<const uint4*>(unit + 1024 * i + 512 + 16 * lane);
      const uint4 v = *reinterpret_cast<const uint4*>(x + kCols * i + 8 * (lane % 4));
      mma_f16(sums, {low.x, high.x, low.y, high.y}, {v.x, v.y});
      mma_f16(sums, {low.z, high.z, low.w, high.w}, {v.z, v.w});
    }
  }
};

template <class F>
struct BlockUnit {
  static constexpr int kCols = 64;
  template <int kTiles>
  __device__ __forceinline__ static void add(const std::byte* unit, const __half* x, const InputPlanes&,
                                             int32_t, int32_t tiles, int lane, float (&sums)[4]) {
    using T = TileFormat<F>;
    float(&total)[1][4] = reinterpret_cast<float(&)[1][4]>(sums);
#pragma unroll(kTiles > 0 ? kTiles : 1)
    for (int i = 0; i < (kTiles > 0 ? kTiles : tiles); ++i) {
      TileShare<F> share;
      read_codes<F>(unit + i * T::kBytes, lane, share);
      read_scales<F>(unit + i * T::kBytes, unit + kUnitTiles * T::kBytes, lane, share);
      skinny::add_tile<skinny::Blocks<F>, 1>(
          share, [&](int, int s, uint32_t(&b)[2]) { read_plane(x + kCols * i, s, lane, b); }, total);
    }
  }
};

// Q4_K and Q5_K: y = d * sum(scale * products) - dmin * sum(min * totals). d and dmin are met once a unit,
// and the minima of a unit are one product of tensor cores: 16 rows x 8 groups by the groups' totals, high
// and low parts.
template <class F>
requires(F::kBlock == 256 && F::kHasMin && F::kGroup == 32) struct BlockUnit<F> {
  static constexpr int kCols = 64;
  template <int kTiles>
  __device__ __forceinline__ static void add(const std::byte* unit, const __half* x, const InputPlanes& in,
                                             int32_t column, int32_t tiles, int lane, float (&sums)[4]) {
    using T = TileFormat<F>;
    const int g = lane / 4, c = lane % 4;
    float scaled[4] = {};
#pragma unroll(kTiles > 0 ? kTiles : 1)
    for (int i = 0; i < (kTiles > 0 ? kTiles : tiles); ++i) {
      const std::byte* const tile = unit + i * T::kBytes;
      TileShare<F> share;
      read_codes<F>(tile, lane, share);
      uint32_t scale[2];
#pragma unroll
      for (int r = 0; r < 2; ++r)
        scale[r] = *reinterpret_cast<const uint32_t*>(tile + T::kScales + (g + 8 * r) * T::kScaleBytes);
#pragma unroll
      for (int group = 0; group < 2; ++group) {
        float product[4] = {};
#pragma unroll
        for (int s = 2 * group; s < 2 * group + 2; ++s) {
          uint32_t a[4], b[2];
          expand<F>(share, s, a);
          read_plane(x + kCols * i, s, lane, b);
          mma_f16(product, a, b);
        }
#pragma unroll
        for (int v = 0; v < 4; ++v)
          scaled[v] = fmaf(static_cast<float>(scale[v / 2] >> 8 * group & 0xffu), product[v], scaled[v]);
      }
    }
    // Lane c has the minima of tile c of the 256 columns: groups 2c and 2c + 1 of rows g and g + 8.
    const int first = column % kUnitTiles;
    uint32_t a[4], b[2] = {};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      a[r] = 0;
      if (kTiles == kUnitTiles || (c >= first && c < first + tiles)) {
        const uint32_t word = *reinterpret_cast<const uint32_t*>(unit + (c - first) * T::kBytes + T::kScales +
                                                                 (g + 8 * r) * T::kScaleBytes);
        a[r] = minus(magic_bytes(word, true), kMagic);
      }
      a[r + 2] = a[r];
    }
    if (g == 0) {  // the high plane's column: the totals have what the low one adds
      const __half* const totals = in.totals + column / kUnitTiles * kTotalsOfStretch;
      b[0] = *reinterpret_cast<const uint32_t*>(totals + 2 * c);
      b[1] = *reinterpret_cast<const uint32_t*>(totals + 8 + 2 * c);
    }
    float minima[4] = {};
    mma_f16(minima, a, b);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const uint32_t super =
          *reinterpret_cast<const uint32_t*>(unit + kUnitTiles * T::kBytes + (g + 8 * r) * 4);
#pragma unroll
      for (int v = 2 * r; v < 2 * r + 2; ++v) {
        sums[v] = fmaf(low_half(super), scaled[v], sums[v]);
        sums[v] = fmaf(-high_half(super), minima[v], sums[v]);
      }
    }
  }
};

// A warp's sums of a row tile, [16 rows]: record (row tile - first of the CTA) + warp. Each warp that begins
// within a row tile adds at most one record to it, so no two are the same.
__device__ __forceinline__ void leave_record(float* records, int32_t record, int lane, float (&sums)[4]) {
  if (lane % 4 == 0) {  // columns 0 and 1: the planes
    float* const to = records + record * 16 + lane / 4;
    to[0] = sums[0] + sums[1];
    to[8] = sums[2] + sums[3];
  }
  sums[0] = sums[1] = sums[2] = sums[3] = 0.0f;
}

template <class Unit, class Stream>
__device__ __forceinline__ void multiply_units(Stream& stream, const ShapeCut& cut, const InputPlanes& in,
                                               float* records) {
  const int lane = lane_index(), warp = warp_index();
  const int32_t col_begin = cut.share.col_begin, col_end = cut.share.col_end;
  // Of 8 columns of B two are planes; the other lanes compute them again, and nobody reads that.
  const __half* const plane = in.planes + lane / 4 % 2 * in.stride;
  int32_t left = cut.warp_begin[warp + 1] - cut.warp_begin[warp], col = cut.warp_col[warp];
  int32_t record = cut.warp_row_tile[warp] - cut.share.first_tile + warp;
  float sums[4] = {};
#pragma unroll 1
  while (left > 0) {
    const int32_t tiles = unit_tiles(col, col_end, left), column = col - col_begin;
    const std::byte* const unit = stream.acquire();
    const __half* const x = plane + column * Unit::kCols;
    if (tiles == kUnitTiles) {
      Unit::template add<kUnitTiles>(unit, x, in, column, tiles, lane, sums);
    } else {
      Unit::template add<0>(unit, x, in, column, tiles, lane, sums);
    }
    stream.release();
    left -= tiles, col += tiles;
    if (col == col_end) {
      leave_record(records, record++, lane, sums);
      col = col_begin;
    }
  }
  if (col != col_begin) leave_record(records, record, lane, sums);
}

// Sums of this warp's tiles of a product into records.
template <class Stream>
__device__ __forceinline__ void multiply(Stream& stream, const ShapeCut& cut, const InputPlanes& in,
                                         float* records) {
  const int warp = warp_index();
  if (cut.warp_begin[warp + 1] == cut.warp_begin[warp]) {
    float nothing[4] = {};  // its place is added up with the others'
    if (cut.warp_begin[warp] < cut.share.end)
      leave_record(records, cut.warp_row_tile[warp] - cut.share.first_tile + warp, lane_index(), nothing);
    return;
  }
  if (cut.shape.dtype == DType::F16) return multiply_units<HalfUnit>(stream, cut, in, records);
  quant::BlockFormats::for_each([&]<class F>() {
    if (cut.shape.dtype == F::kType) multiply_units<BlockUnit<F>>(stream, cut, in, records);
  });
}

// Adds up the records of each row tile in the order of the warps, times the input's scale: body(row, sums of
// row and row + 1 of the matrix, slot, slots that follow and are nobody's). All threads.
template <class Body>
__device__ __forceinline__ void for_sums(const ShapeCut& cut, const float* records, float scale,
                                         const Body& body) {
  const int32_t slots = cut.shape.slots_a_group, first_slot = cut.share.group * slots;
#pragma unroll 1
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < cut.row_tiles * 8; i += kThreads) {
    const int32_t tile = i / 8, r = i % 8 * 2;
    const uchar2 warps = cut.tile_warps[tile];
    float2 sum = make_float2(0.0f, 0.0f);
    const float* record = records + (tile + warps.x) * 16 + r;
#pragma unroll 4
    for (int32_t w = warps.x; w <= warps.y; ++w, record += 16) {
      const float2 v = *reinterpret_cast<const float2*>(record);
      sum.x += v.x, sum.y += v.y;
    }
    const int32_t slot = tile == 0 ? cut.first_slot : 0,
                  next = tile + 1 == cut.row_tiles ? cut.next_slot : slots;
    body(cut.shape.first_row + (cut.share.first_tile + tile) * 16 + r,
         make_float2(sum.x * scale, sum.y * scale), first_slot + slot, next - slot - 1);
  }
}

}  // namespace qwend::cuda::decode
