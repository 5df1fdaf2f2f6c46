// The warp that sees to the weights of all others of its CTA, on sm_90: lane w for warp w.
//
// kCopies: it asks for their units by bulk copies; otherwise the warps themselves do (rows of FP16: bulk
// copies of 256 bytes ran at a third of the speed). When rings are full and nothing is on its way, as while
// CTAs wait for attention, it fetches what comes next into L2: 7B Q4_K_M 456 -> 486 tokens/s, Q8_0 319 ->
// 339, 0.5B FP16 1,425 -> 1,541. Fetching by the warps, between their units, had cost more than it gave.
#pragma once
#include "kernels/cuda/decode_stream.cuh"

namespace qwend::cuda::decode {

template <bool kCopies>
class Producer;

#if __CUDA_ARCH__ >= 900
template <bool kCopies>
class Producer {
  static constexpr uint32_t kAhead = 4;  // units a warp in L2: 4 and 8 did the same, 2 gave two thirds of it
  static constexpr int kTogether = 3;    // warps whose next units are fetched at once
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
      if constexpr (kCopies) note_filled();
      __syncwarp();  // rows of FP16 are copied by lanes that have not seen themselves that a place was read
      // A place that was filled must have been noted before it is filled again: parity tells two phases
      // apart, not three.
      const bool go = more && room(read_) && (!kCopies || room(filled_));
      if (__any_sync(kAllLanes, go)) {
        issue(go);
        last = clock();
      } else if (clock() - last > kPause && !__any_sync(kAllLanes, kCopies && issued_ != filled_)) {
        fetch();
        last = clock();
      } else {
        __nanosleep(20);
      }
    }
  }

 private:
  __device__ static int own_warp() { return min(lane_index(), kWarps - 1); }

  // A warp that asks for itself may have read more than was issued here.
  __device__ __forceinline__ bool room(uint32_t done) const {
    return static_cast<int32_t>(issued_ - done) < rings_.slots;
  }
  __device__ __forceinline__ void note_read() {
    if constexpr (!kCopies) {
      read_ = atomicAdd(rings_.taken + own_warp(), 0u);
    } else if (read_ != issued_ && barrier_ended(rings_.read(lane_index(), read_place_), read_parity_)) {
      ++read_;
      if (++read_place_ == rings_.slots) read_place_ = 0, read_parity_ ^= 1;
    }
  }
  __device__ __forceinline__ void note_filled() {
    if (filled_ == issued_ || !barrier_ended(rings_.filled(lane_index(), filled_place_), filled_parity_))
      return;
    ++filled_;
    if (++filled_place_ == rings_.slots) filled_place_ = 0, filled_parity_ ^= 1;
  }

  // The next unit of each lane that goes; all lanes.
  __device__ __forceinline__ void issue(bool go) {
    Unit unit{};
    uint32_t slot = 0, barrier = 0;
    if (go) {
      unit = cursor_.next(rings_);
      ++issued_;
      if constexpr (kCopies) {
        slot = shared_address(rings_.place(lane_index(), put_)), barrier = rings_.filled(lane_index(), put_);
        if (++put_ == rings_.slots) put_ = 0;
        if (unit.pitch == 0) copy_blocks(slot, unit, barrier);
      }
    }
    if constexpr (!kCopies) return;
    // Rows of FP16, which a model of block formats may have too, are copied by all lanes together.
    for_halves(go, unit, [&](const Unit& theirs, int lane) {
      copy_by_warp(__shfl_sync(kAllLanes, slot, lane), theirs, __shfl_sync(kAllLanes, barrier, lane));
    });
  }
  __device__ __forceinline__ static void copy_blocks(uint32_t slot, const Unit& unit, uint32_t barrier) {
    shared_before_async();  // the place's readers, whose arrivals note_read() has seen
    barrier_arrive_expecting(barrier, kWarp, static_cast<uint32_t>(unit.bytes + unit.super_bytes));
    copy_bulk(unit.super_bytes != 0 ? slot + kSuperArea : slot, unit.tiles, static_cast<uint32_t>(unit.bytes),
              barrier);
    if (unit.super_bytes != 0) copy_bulk(slot, unit.supers, static_cast<uint32_t>(unit.super_bytes), barrier);
  }

  // Units of three warps, in turn, into L2.
  __device__ __forceinline__ void fetch() {
    const int lane = lane_index(), turn = lane >= first_ ? lane - first_ : lane - first_ + kWarps;
    if (static_cast<int32_t>(fetched_ - issued_) < 0) far_ = cursor_, fetched_ = issued_;
    const bool go = lane < kWarps && turn < kTogether && fetched_ - issued_ < kAhead && far_.more(rings_);
    Unit unit{};
    if (go) {
      unit = far_.next(rings_);
      ++fetched_;
      if (unit.pitch == 0) {
        fetch_bulk(unit.tiles, static_cast<uint32_t>(unit.bytes));
        if (unit.super_bytes != 0) fetch_bulk(unit.supers, static_cast<uint32_t>(unit.super_bytes));
      }
    }
    for_halves(go, unit, [&](const Unit& theirs, int) {
      const std::byte* const line = theirs.tiles + lane / 2 * theirs.pitch + lane % 2 * 128;
      if (lane % 2 * 2 < theirs.num_tiles) asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
    });
    first_ += kTogether;
    if (first_ >= kWarps) first_ -= kWarps;
  }
  __device__ __forceinline__ static void fetch_bulk(const std::byte* from, uint32_t bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
  }

  // body(unit, lane) with all lanes for each lane that goes and has a unit of FP16.
  template <class Body>
  __device__ __forceinline__ static void for_halves(bool go, const Unit& unit, const Body& body) {
    for (uint32_t halves = __ballot_sync(kAllLanes, go && unit.pitch != 0); halves != 0;
         halves &= halves - 1) {
      const int lane = __ffs(static_cast<int>(halves)) - 1;
      const auto tiles = __shfl_sync(kAllLanes, reinterpret_cast<uint64_t>(unit.tiles), lane);
      body(Unit{reinterpret_cast<const std::byte*>(tiles), nullptr,
                __shfl_sync(kAllLanes, unit.num_tiles, lane), 0, 0, __shfl_sync(kAllLanes, unit.pitch, lane)},
           lane);
    }
  }

  const Rings& rings_;
  UnitCursor cursor_, far_;                                    // next to issue, next to fetch
  uint32_t issued_ = 0, filled_ = 0, read_ = 0, fetched_ = 0;  // units of this lane's warp
  int32_t put_ = 0, filled_place_ = 0, read_place_ = 0;        // places
  uint32_t filled_parity_ = 0, read_parity_ = 0;
  int first_ = 0;  // lane whose turn to fetch it is
};
#endif

}  // namespace qwend::cuda::decode
