// The warp that asks for the weights of all others of its CTA, from sm_90 on: lane w for warp w, block
// formats by bulk copies, FP16 by boxes of a tile (rows of FP16 as bulk copies of 256 bytes ran at a third of
// the speed).
//
// When rings are full and nothing is on its way, as while CTAs wait for attention, it fetches what comes next
// into L2: 7B Q4_K_M 456 -> 486 tokens/s, Q8_0 319 -> 339. Fetching by the warps, between their units, had
// cost more than it gave; so had fetching all the time, with every copy (7B Q4_K_M 485 -> 319 to 417).
// Copies tell L2 that nobody will read the same again: 7B Q4_K_M 485 -> 494, Q8_0 342 -> 346.
#pragma once
#include "kernels/cuda/decode_stream.cuh"

namespace qwend::cuda::decode {

class Producer {
  static constexpr uint32_t kAhead = 4;  // units a warp in L2: 4 and 8 do the same, 2 gave two thirds of it
  static constexpr int kTogether = 6;    // warps whose next units are fetched at once: 3 took 2% longer
  // Cycles between fetches, so that keys, values and sums find room: 600 to 2,200 did the same.
  static constexpr uint32_t kPause = 800;

 public:
  __device__ explicit Producer(const Rings& rings) : rings_(rings), cursor_(own_warp()), far_(cursor_) {}

  __device__ __forceinline__ void run() {
    uint32_t last = clock();  // when something was asked for
#pragma unroll 1
    while (true) {
      const bool more = lane_index() < kWarps && cursor_.more(rings_);
      if (!__any_sync(kAllLanes, more)) return;
      note_read();
      note_filled();
      // A place that was filled must have been noted before it is filled again: parity tells two phases
      // apart, not three.
      const bool go = more && room(read_) && room(filled_);
      if (__any_sync(kAllLanes, go)) {
        issue(go);
        last = clock();
      } else if (__all_sync(kAllLanes, issued_ == filled_ && clock() - last > kPause)) {
        fetch();
        last = clock();
      } else {
        __nanosleep(20);
      }
    }
  }

 private:
  __device__ static int own_warp() { return min(lane_index(), kWarps - 1); }

  __device__ __forceinline__ bool room(uint32_t done) const {
    return issued_ - done < static_cast<uint32_t>(rings_.slots);
  }
  __device__ __forceinline__ void note_read() {
    if (read_ == issued_ || !barrier_ended(rings_.read(lane_index(), read_place_), read_parity_)) return;
    ++read_;
    if (++read_place_ == rings_.slots) read_place_ = 0, read_parity_ ^= 1;
  }
  __device__ __forceinline__ void note_filled() {
    if (filled_ == issued_ || !barrier_ended(rings_.filled(lane_index(), filled_place_), filled_parity_))
      return;
    ++filled_;
    if (++filled_place_ == rings_.slots) filled_place_ = 0, filled_parity_ ^= 1;
  }

  // The next unit of each lane that goes.
  __device__ __forceinline__ void issue(bool go) {
    Unit unit{};
    uint32_t slot = 0, barrier = 0;
    if (go) {
      unit = cursor_.next(rings_);
      slot = shared_address(rings_.place(lane_index(), put_)), barrier = rings_.filled(lane_index(), put_);
      ++issued_;
      if (++put_ == rings_.slots) put_ = 0;
      shared_before_async();  // the place's readers, whose arrivals note_read() has seen
      barrier_arrive_expecting(barrier, 1, static_cast<uint32_t>(unit.bytes + unit.super_bytes));
    }
    if (!rings_.lanes_in_turn) {
      if (go) copy(unit, slot, barrier);
      return;
    }
#pragma unroll 1
    for (uint32_t lanes = __ballot_sync(kAllLanes, go); lanes != 0; lanes &= lanes - 1)
      if (lane_index() == __ffs(static_cast<int>(lanes)) - 1) copy(unit, slot, barrier);
  }
  __device__ __forceinline__ static void copy(const Unit& unit, uint32_t slot, uint32_t barrier) {
    if (unit.map != nullptr) {
      for_boxes(unit, [&](int32_t i, int32_t col) {
        copy_box_once(slot + i * kDecodeHalfTileBytes, *unit.map, unit.row, col, barrier);
      });
      return;
    }
    copy_bulk_once(unit.super_bytes != 0 ? slot + kSuperArea : slot, unit.tiles,
                   static_cast<uint32_t>(unit.bytes), barrier);
    if (unit.super_bytes != 0)
      copy_bulk_once(slot, unit.supers, static_cast<uint32_t>(unit.super_bytes), barrier);
  }
  // body(number, first column) for the boxes of a unit of FP16.
  template <class Body>
  __device__ __forceinline__ static void for_boxes(const Unit& unit, const Body& body) {
#pragma unroll
    for (int32_t i = 0; i < decode_unit_tiles(kDecodeHalfTileBytes); ++i)
      if (i < unit.num_tiles) body(i, unit.col + i * kTileCols);
  }

  // Units of three warps, in turn, into L2.
  __device__ __forceinline__ void fetch() {
    const int lane = lane_index(), turn = lane >= first_ ? lane - first_ : lane - first_ + kWarps;
    if (static_cast<int32_t>(fetched_ - issued_) < 0) far_ = cursor_, fetched_ = issued_;
    if (lane < kWarps && turn < kTogether && fetched_ - issued_ < kAhead && far_.more(rings_)) {
      const Unit unit = far_.next(rings_);
      ++fetched_;
      if (unit.map != nullptr) {
        for_boxes(unit, [&](int32_t, int32_t col) { fetch_box(*unit.map, unit.row, col); });
      } else {
        fetch_bulk(unit.tiles, static_cast<uint32_t>(unit.bytes));
        if (unit.super_bytes != 0) fetch_bulk(unit.supers, static_cast<uint32_t>(unit.super_bytes));
      }
    }
    first_ += kTogether;
    if (first_ >= kWarps) first_ -= kWarps;
  }

  const Rings& rings_;
  UnitCursor cursor_, far_;                                    // next to issue, next to fetch
  uint32_t issued_ = 0, filled_ = 0, read_ = 0, fetched_ = 0;  // units of this lane's warp
  int32_t put_ = 0, filled_place_ = 0, read_place_ = 0;        // places
  uint32_t filled_parity_ = 0, read_parity_ = 0;
  int first_ = 0;  // lane whose turn to fetch it is
};

}  // namespace qwend::cuda::decode
