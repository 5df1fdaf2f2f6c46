// A warp's share of all matrices of a decode program, as one stream through a ring in shared memory.
//
// The stream's order is fixed: product after product, unit after unit; a unit is up to two, four or eight
// neighbouring tiles of a row of tiles. The issuing end runs a ring's places ahead of the consuming one and
// knows nothing of phases, so copies go on while the warp waits for others. Each place has a barrier that its
// copies report to. From sm_90 on one warp asks for the units of all by bulk copies (decode_producer.cuh);
// before, each asks for its own by cp.async.
#pragma once
#include "kernels/cuda/decode_cut.cuh"
#include "kernels/cuda/tma.cuh"

namespace qwend::cuda::decode {

#if __CUDA_ARCH__ >= 900
inline constexpr bool kBulkCopies = true;
#else
inline constexpr bool kBulkCopies = false;
#endif

// Rings of all warps, in shared memory: `slots` places of slot_bytes each a warp. Each place has a barrier
// that copies into it report to, and, for bulk copies, one that says that its unit was read.
struct Rings {
  const Product* products;  // of all of the program
  const ShapeCut* cuts;
  const CUtensorMap* maps;  // DecodeTable's
  std::byte* places;        // of FP16: kBoxAlignment
  uint64_t* barriers;       // [2][kWarps][slots] filled, read
  int32_t num_products, slots, slot_bytes;
  bool lanes_in_turn;  // DecodeTable's

  __device__ __forceinline__ std::byte* place(int warp, int32_t slot) const {
    return places + (warp * slots + slot) * slot_bytes;
  }
  __device__ __forceinline__ uint32_t filled(int warp, int32_t slot) const {
    return shared_address(barriers) + 8 * static_cast<uint32_t>(warp * slots + slot);
  }
  __device__ __forceinline__ uint32_t read(int warp, int32_t slot) const {
    return filled(kWarps + warp, slot);
  }
  // By all threads, before a barrier. Who arrives: where a place is filled, the lane that asked for bulk
  // copies, or all lanes of the warp; where it was read, all lanes.
  __device__ void clear() const {
    for (auto i = static_cast<int32_t>(threadIdx.x); i < kWarps * slots;
         i += static_cast<int32_t>(blockDim.x)) {
      barrier_init(filled(0, i), kBulkCopies ? 1 : kWarp);
      barrier_init(read(0, i), kWarp);
    }
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory");
#endif
  }
};

// A unit as it is copied.
struct Unit {
  const std::byte* tiles;
  const std::byte* supers;
  const CUtensorMap* map;  // FP16, for bulk copies; else nullptr
  int32_t row, col;        // in the map
  int32_t num_tiles;
  int32_t bytes, super_bytes;  // of all tiles and super-scales
  int32_t pitch;               // FP16: of a row; else 0
};

// Where a warp's stream has got to.
class UnitCursor {
 public:
  __device__ explicit UnitCursor(int warp) : warp_(warp) {}

  // Whether there is another unit.
  __device__ __forceinline__ bool more(const Rings& rings) {
    if (left_ == 0) begin_product(rings);
    return left_ > 0;
  }
  // The next one; there must be one.
  __device__ __forceinline__ Unit next(const Rings& rings) {
    const ShapeCut& cut = rings.cuts[cut_];
    const DecodeShape& shape = cut.shape;
    const int32_t tiles = unit_tiles(shape.unit_tiles, col_, cut.share.col_end, left_);
    Unit unit{source_, nullptr, nullptr, 0, 0, tiles, tiles * shape.tile_bytes, 0, shape.pitch};
    if (kBulkCopies && shape.pitch != 0)
      unit.map = rings.maps + (next_ - 1), unit.row = row_tile_ * kTileRows, unit.col = col_ * kTileCols;
    if (shape.super_bytes != 0) {
      unit.supers = supers_ + (col_ / kSuperTiles) * shape.super_bytes;
      unit.super_bytes = ((col_ + tiles - 1) / kSuperTiles - col_ / kSuperTiles + 1) * shape.super_bytes;
    }
    left_ -= tiles, col_ += tiles;
    source_ += tiles * shape.tile_step;
    if (col_ == cut.share.col_end) {
      col_ = cut.share.col_begin, ++row_tile_;
      source_ += shape.row_tile_step - cut.width * shape.tile_step;
      supers_ += shape.super_row_bytes;
    }
    return unit;
  }

 private:
  // To the next product that has tiles for this warp, if there is one.
  __device__ __forceinline__ void begin_product(const Rings& rings) {
    for (; left_ == 0 && next_ < rings.num_products; ++next_) {
      const Product& product = rings.products[next_];
      cut_ = product.cut;
      const ShapeCut& cut = rings.cuts[cut_];
      left_ = cut.warp_begin[warp_ + 1] - cut.warp_begin[warp_];
      if (left_ == 0) continue;
      const DecodeShape& s = cut.shape;
      row_tile_ = cut.warp_row_tile[warp_], col_ = cut.warp_col[warp_];
      source_ = product.data + int64_t{row_tile_} * s.row_tile_step + int64_t{col_} * s.tile_step;
      supers_ = product.supers + int64_t{row_tile_} * s.super_row_bytes;
      if constexpr (kBulkCopies) prepare_map(rings, next_ + 1);
    }
  }
  // Fetched when its first box is asked for, a map would keep it waiting.
  __device__ __forceinline__ static void prepare_map(const Rings& rings, int32_t product) {
    if (product < rings.num_products && rings.cuts[rings.products[product].cut].shape.pitch != 0)
      prefetch_map(rings.maps[product]);
  }

  int warp_;
  int32_t next_ = 0;                   // product to come
  uint32_t cut_ = 0;                   // of the current one
  int32_t left_ = 0;                   // tiles to come of the current one
  int32_t row_tile_ = 0, col_ = 0;     // of the next one, in tiles
  const std::byte* source_ = nullptr;  // of the next unit
  const std::byte* supers_ = nullptr;  // of its row tile
};

__device__ __forceinline__ void copy16(uint32_t to, const std::byte* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// By a whole warp, before sm_90. FP16 as boxes of a tile would lie (decode_units.cuh); tiles of a block
// format lie as they are read, after the super-scales of their rows.
__device__ __forceinline__ void copy_by_warp(uint32_t slot, const Unit& unit, uint32_t barrier) {
  const int lane = lane_index(), at = 16 * lane;
  if (unit.pitch != 0) {
    const int row = lane / 8, chunk = lane % 8;  // of four rows
    const std::byte* const from = unit.tiles + row * unit.pitch + 16 * chunk;
#pragma unroll
    for (int i = 0; i < decode_unit_tiles(kDecodeHalfTileBytes); ++i) {
      if (i >= unit.num_tiles) break;
#pragma unroll
      for (int r = 0; r < kTileRows; r += 4)
        copy16(slot + i * kDecodeHalfTileBytes + (r + row) * 128 + (chunk ^ (r + row) % 8) * 16,
               from + i * kTileCols * 2 + r * unit.pitch);
    }
  } else {
    const uint32_t tiles = unit.super_bytes != 0 ? slot + kSuperArea : slot;
#pragma unroll
    for (int r = 0; r < (kMaxDecodeUnitBytes + 511) / 512; ++r) {
      if (512 * r + at < unit.bytes) copy16(tiles + at + 512 * r, unit.tiles + at + 512 * r);
    }
    if (at < unit.super_bytes) copy16(slot + at, unit.supers + at);
  }
  barrier_follow_copies(barrier);
}

// The consuming end of a warp's stream, and before sm_90 the issuing one.
class WeightStream {
 public:
  __device__ explicit WeightStream(const Rings& rings) : rings_(rings), cursor_(warp_index()) {
    if constexpr (!kBulkCopies) {
#pragma unroll 1
      for (int32_t i = 0; i < rings_.slots; ++i) issue();
    }
  }

  // Waits for the oldest unit of the stream; all lanes may read it until release().
  __device__ __forceinline__ const std::byte* acquire() {
    refill();
    barrier_wait(rings_.filled(warp_index(), take_), parity_);
    return rings_.place(warp_index(), take_);
  }
  // The unit's place is free.
  __device__ __forceinline__ void release() {
    // Every lane for itself: no barrier of the warp.
    if constexpr (kBulkCopies) barrier_arrive(rings_.read(warp_index(), take_));
    ++take_;
    if (take_ == rings_.slots) take_ = 0, parity_ ^= 1;
    free_ = !kBulkCopies;
  }
  // Asks for the next unit of the stream, if one was released: when the warp has nothing better to do, at the
  // latest when it wants another.
  __device__ __forceinline__ void refill() {
    if constexpr (!kBulkCopies) {
      if (!free_) return;
      free_ = false;
      __syncwarp();
      issue();
    }
  }

 private:
  __device__ __forceinline__ void issue() {
    if (!cursor_.more(rings_)) return;
    copy_by_warp(shared_address(rings_.place(warp_index(), put_)), cursor_.next(rings_),
                 rings_.filled(warp_index(), put_));
    put_ = put_ + 1 == rings_.slots ? 0 : put_ + 1;
  }

  const Rings& rings_;
  UnitCursor cursor_;
  int32_t put_ = 0, take_ = 0;  // places
  uint32_t parity_ = 0;         // of the phase that take_'s barrier is in
  bool free_ = false;           // a unit has been released and its place not been given away
};

}  // namespace qwend::cuda::decode
