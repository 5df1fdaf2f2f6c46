// A warp's share of all matrices of a decode program, as one stream through a ring in shared memory.
//
// The stream's order is fixed: product after product, unit after unit; a unit is up to four or eight
// neighbouring tiles of a row of tiles. The issuing end runs a ring's places ahead of the consuming one and
// knows nothing of phases, so copies go on while the warp waits for others. Each place has a barrier that its
// copies report to. On sm_90 one warp asks for the block formats of all by bulk copies (decode_producer.cuh);
// otherwise each asks for its own by cp.async.
#pragma once
#include "kernels/cuda/decode_cut.cuh"

namespace qwend::cuda::decode {

#if __CUDA_ARCH__ >= 900
inline constexpr bool kBulkCopies = true;
#else
inline constexpr bool kBulkCopies = false;
#endif

// Rings of all warps, in shared memory: `slots` places of slot_bytes each a warp. Each place has a barrier
// that copies into it report to, and one that says that its unit was read. Of warps that ask for copies
// themselves the units that they have read are counted.
struct Rings {
  const Product* products;  // of all of the program
  const ShapeCut* cuts;
  std::byte* places;
  uint64_t* barriers;  // [2][kWarps][slots] filled, read
  uint32_t* taken;     // [kWarps]
  int32_t num_products, slots, slot_bytes;

  __device__ __forceinline__ std::byte* place(int warp, int32_t slot) const {
    return places + (warp * slots + slot) * slot_bytes;
  }
  __device__ __forceinline__ uint32_t filled(int warp, int32_t slot) const {
    return shared_address(barriers) + 8 * static_cast<uint32_t>(warp * slots + slot);
  }
  __device__ __forceinline__ uint32_t read(int warp, int32_t slot) const {
    return filled(kWarps + warp, slot);
  }
  // By all threads, before a barrier.
  __device__ void clear() const {
    for (auto i = static_cast<int32_t>(threadIdx.x); i < 2 * kWarps * slots;
         i += static_cast<int32_t>(blockDim.x))
      barrier_init(shared_address(barriers) + 8 * static_cast<uint32_t>(i), kWarp);
    if (threadIdx.x < kWarps) taken[threadIdx.x] = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory");
#endif
  }
};

// A unit as it is copied.
struct Unit {
  const std::byte* tiles;
  const std::byte* supers;
  int32_t num_tiles;
  int32_t bytes, super_bytes;  // block formats: of all tiles and super-scales
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
    Unit unit{source_, nullptr, tiles, tiles * shape.tile_bytes, 0, shape.pitch};
    if (shape.super_bytes != 0) {
      unit.supers = supers_ + (col_ / kSuperTiles) * shape.super_bytes;
      unit.super_bytes = ((col_ + tiles - 1) / kSuperTiles - col_ / kSuperTiles + 1) * shape.super_bytes;
    }
    left_ -= tiles, col_ += tiles;
    source_ += tiles * shape.tile_bytes;
    if (col_ == cut.share.col_end) {
      col_ = cut.share.col_begin;
      source_ += shape.row_tile_bytes - cut.width * shape.tile_bytes;
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
      const int32_t row_tile = cut.warp_row_tile[warp_];
      col_ = cut.warp_col[warp_];
      source_ = product.data + int64_t{row_tile} * s.row_tile_bytes + int64_t{col_} * s.tile_bytes;
      supers_ = product.supers + int64_t{row_tile} * s.super_row_bytes;
    }
  }

  int warp_;
  int32_t next_ = 0;                   // product to come
  uint32_t cut_ = 0;                   // of the current one
  int32_t left_ = 0, col_ = 0;         // tiles to come of the current one; the next one's column
  const std::byte* source_ = nullptr;  // of the next unit
  const std::byte* supers_ = nullptr;  // of its row tile
};

__device__ __forceinline__ void copy16(uint32_t to, const std::byte* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// By a whole warp. FP16: four pieces of each of 16 rows a tile, so that a lane finds its own at 16 * lane.
// Tiles of a block format lie as they are read, after the super-scales of their rows.
__device__ __forceinline__ void copy_by_warp(uint32_t slot, const Unit& unit, uint32_t barrier) {
  const int lane = lane_index(), at = 16 * lane;
  if (unit.pitch != 0) {
    const std::byte* const from = unit.tiles + lane / 4 * unit.pitch + lane % 4 * 16;
#pragma unroll
    for (int i = 0; i < decode_unit_tiles(DType::F16, 0); ++i) {
      if (i >= unit.num_tiles) break;
      copy16(slot + at + 1024 * i, from + 64 * i);
      copy16(slot + at + 1024 * i + 512, from + 64 * i + 8 * unit.pitch);
    }
  } else if constexpr (!kBulkCopies) {
    const uint32_t tiles = unit.super_bytes != 0 ? slot + kSuperArea : slot;
#pragma unroll
    for (int r = 0; r < (kMaxDecodeUnitBytes + 511) / 512; ++r) {
      if (512 * r + at < unit.bytes) copy16(tiles + at + 512 * r, unit.tiles + at + 512 * r);
    }
    if (at < unit.super_bytes) copy16(slot + at, unit.supers + at);
  }
  barrier_follow_copies(barrier);
}

// The consuming end of a warp's stream. kOwnCopies: and the issuing one.
template <bool kOwnCopies>
class WeightStream {
 public:
  __device__ explicit WeightStream(const Rings& rings) : rings_(rings), cursor_(warp_index()) {
    if constexpr (kOwnCopies) {
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
    if constexpr (kBulkCopies && kOwnCopies) {
      __syncwarp();
      if (lane_index() == 0) atomicAdd(rings_.taken + warp_index(), 1u);
    } else if constexpr (kBulkCopies) {
      barrier_arrive(rings_.read(warp_index(), take_));  // every lane for itself: no barrier of the warp
    }
    ++take_;
    if (take_ == rings_.slots) take_ = 0, parity_ ^= 1;
    free_ = kOwnCopies;
  }
  // Asks for the next unit of the stream, if one was released: when the warp has nothing better to do, at the
  // latest when it wants another.
  __device__ __forceinline__ void refill() {
    if constexpr (kOwnCopies) {
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
