// A warp's share of all matrices of a decode program, as one stream through a ring in shared memory.
//
// The stream's order is fixed: product after product, unit after unit; a unit is up to four or eight
// neighbouring tiles of a row of tiles. The issuing end runs a ring's places ahead of the consuming one and
// knows nothing of phases, so copies go on while the warp waits for others. Each place has a barrier that its
// copies report to: bulk copies where there are such (sm_90), elsewhere and for rows of FP16 cp.async
// (sm_80). Little's law asks for 20 to 30 KB on their way on a multiprocessor of an H100, 3 TB/s and 1 us; a
// ring holds 150 KB and more, and one place a warp does as well as six within 5%: what stands in the way lies
// elsewhere.
#pragma once
#include "kernels/cuda/decode_program.h"
#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda::decode {

inline constexpr int kWarps = kDecodeWarps, kThreads = kWarps * kWarp;
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

class WeightStream {
 public:
  // Shared memory: products of all of the program; cuts of shapes; this warp's ring of `slots` places and as
  // many barriers.
  struct Memory {
    const Product* products;
    const ShapeCut* cuts;
    std::byte* ring;
    uint64_t* barriers;
  };
  __device__ WeightStream(const Memory& memory, int32_t num_products, int32_t slots, int32_t slot_bytes)
      : products_(memory.products),
        cuts_(memory.cuts),
        ring_(memory.ring),
        barriers_(shared_address(memory.barriers)),
        num_products_(num_products),
        slots_(slots),
        slot_bytes_(slot_bytes) {
    if (lane_index() == 0) {
      for (int32_t i = 0; i < slots; ++i) barrier_init(barriers_ + 8 * i, kWarp);
#if __CUDA_ARCH__ >= 900
      asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory");
#endif
    }
    __syncwarp();
#pragma unroll 1
    for (int32_t i = 0; i < slots; ++i) issue();
  }

  // Waits for the oldest unit of the stream; all lanes may read it until release().
  __device__ __forceinline__ const std::byte* acquire() {
    refill();
    barrier_wait(barriers_ + 8 * take_, parity_);
    return ring_ + take_ * slot_bytes_;
  }
  // The unit's place is free.
  __device__ __forceinline__ void release() {
    ++take_;
    if (take_ == slots_) take_ = 0, parity_ ^= 1;
    free_ = true;
  }
  // Asks for the next unit of the stream, if one was released: when the warp has nothing better to do, at the
  // latest when it wants another.
  __device__ __forceinline__ void refill() {
    if (!free_) return;
    free_ = false;
    __syncwarp();
    issue();
  }

 private:
  __device__ __forceinline__ void issue() {
    if (left_ == 0) begin_product();
    if (left_ == 0) return;
    const ShapeCut& cut = cuts_[cut_];
    const int32_t tile_bytes = cut.shape.tile_bytes, col_end = cut.share.col_end;
    const int32_t tiles = unit_tiles(cut.shape.unit_tiles, col_, col_end, left_);
    const uint32_t slot = shared_address(ring_ + put_ * slot_bytes_), barrier = barriers_ + 8 * put_;
    if (cut.shape.pitch != 0) {
      copy_halves(slot, tiles, cut.shape.pitch, barrier);
    } else {
      const int32_t supers = (col_ + tiles - 1) / kSuperTiles - col_ / kSuperTiles + 1;
      copy_blocks(slot, tiles * tile_bytes, cut.shape.super_bytes, supers, barrier);
    }
    put_ = put_ + 1 == slots_ ? 0 : put_ + 1;
    left_ -= tiles, col_ += tiles;
    source_ += tiles * tile_bytes;
    if (col_ == col_end) {
      col_ = cut.share.col_begin;
      source_ += cut.shape.row_tile_bytes - cut.width * tile_bytes;
      supers_ += cut.shape.super_row_bytes;
    }
  }
  // FP16: four pieces of each of 16 rows a tile, so that a lane finds its own at 16 * lane.
  __device__ __forceinline__ void copy_halves(uint32_t slot, int32_t tiles, int32_t pitch,
                                              uint32_t barrier) const {
    const int lane = lane_index();
    const std::byte* const from = source_ + lane / 4 * pitch + lane % 4 * 16;
    slot += lane * 16;
#pragma unroll
    for (int i = 0; i < decode_unit_tiles(DType::F16, 0); ++i) {
      if (i >= tiles) break;
      copy(slot + 1024 * i, from + 64 * i);
      copy(slot + 1024 * i + 512, from + 64 * i + 8 * pitch);
    }
    barrier_follow_copies(barrier);
  }
  // Tiles of a block format, and so many super-scales of their rows, lie as they are read; by bulk copies
  // where there are such.
  __device__ __forceinline__ void copy_blocks(uint32_t slot, int32_t bytes, int32_t super_bytes,
                                              int32_t supers, uint32_t barrier) const {
    const uint32_t tile = super_bytes != 0 ? slot + kSuperArea : slot;
    const std::byte* const super = supers_ + (col_ / kSuperTiles) * super_bytes;
    super_bytes *= supers;
#if __CUDA_ARCH__ >= 900
    if (lane_index() != 0) return;
    barrier_arrive_expecting(barrier, kWarp, static_cast<uint32_t>(bytes + super_bytes));
    copy_bulk(tile, source_, static_cast<uint32_t>(bytes), barrier);
    if (super_bytes != 0) copy_bulk(slot, super, static_cast<uint32_t>(super_bytes), barrier);
#else
    const int32_t at = lane_index() * 16;
#pragma unroll
    for (int r = 0; r < (kMaxDecodeUnitBytes + 511) / 512; ++r) {
      if (512 * r + at < bytes) copy(tile + at + 512 * r, source_ + at + 512 * r);
    }
    if (at < super_bytes) copy(slot + at, super + at);
    barrier_follow_copies(barrier);
#endif
  }
  __device__ __forceinline__ static void copy(uint32_t to, const std::byte* from) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  }
  // To the next product that has tiles for this warp, if there is one.
  __device__ __forceinline__ void begin_product() {
    const int warp = warp_index();
    for (; left_ == 0 && next_ < num_products_; ++next_) {
      const Product& product = products_[next_];
      cut_ = product.cut;
      const ShapeCut& cut = cuts_[cut_];
      left_ = cut.warp_begin[warp + 1] - cut.warp_begin[warp];
      if (left_ == 0) continue;
      const DecodeShape& s = cut.shape;
      const int32_t row_tile = cut.warp_row_tile[warp];
      col_ = cut.warp_col[warp];
      source_ = product.data + int64_t{row_tile} * s.row_tile_bytes + int64_t{col_} * s.tile_bytes;
      supers_ = product.supers + int64_t{row_tile} * s.super_row_bytes;
    }
  }

  const Product* const products_;
  const ShapeCut* const cuts_;
  std::byte* const ring_;
  const uint32_t barriers_;  // address
  const int32_t num_products_, slots_, slot_bytes_;
  int32_t put_ = 0, take_ = 0;         // places
  uint32_t parity_ = 0;                // of the phase that take_'s barrier is in
  bool free_ = false;                  // a unit has been released and its place not been given away
  int32_t next_ = 0;                   // product to come
  uint32_t cut_ = 0;                   // of the current one
  int32_t left_ = 0, col_ = 0;         // tiles to come of the current one; the next one's column
  const std::byte* source_ = nullptr;  // of the next unit
  const std::byte* supers_ = nullptr;  // of its row tile
};

}  // namespace qwend::cuda::decode
