// The warp that fetches into L2 what the rings of its CTA's other warps will be filled with next (sm_90):
// lane w for warp w.
//
// A ring holds 10 to 14 KB a warp, 20 MB of all: what memory sends in the 7 us that CTAs wait for attention
// is more. Fetching by the warps themselves, between their units, had cost more than it gave.
#pragma once
#include "kernels/cuda/decode_stream.cuh"

namespace qwend::cuda::decode {

class FetchAhead {
 public:
  __device__ explicit FetchAhead(const Rings& rings) : rings_(rings), cursor_(own_warp()), far_(cursor_) {}

  __device__ __forceinline__ void run() {
    uint32_t last = clock();  // when something was asked for, by this warp or others
#pragma unroll 1
    while (true) {
      const bool more = lane_index() < kWarps && cursor_.more(rings_);
      if (!__any_sync(kAllLanes, more)) return;
      const uint32_t taken = atomicAdd(rings_.taken + own_warp(), 0u);
      const bool follow = more && static_cast<int32_t>(passed_ - taken) < rings_.slots;
      if (follow) cursor_.next(rings_), ++passed_;
      if (__any_sync(kAllLanes, follow)) {
        last = clock();
      } else if (clock() - last > kPause) {
        fetch();
        last = clock();
      } else {
        __nanosleep(20);
      }
    }
  }

 private:
  static constexpr uint32_t kUnits = 4;  // a warp: 4 and 8 did the same, 2 gave two thirds of it
  static constexpr int kTogether = 3;    // warps whose next units are fetched at once
  // Cycles without a unit taken, as while CTAs wait, and between fetches, so that keys, values and sums find
  // room: 600 to 2,200 did the same.
  static constexpr uint32_t kPause = 800;

  __device__ static int own_warp() { return min(lane_index(), kWarps - 1); }

  // Units of some warps, in turn.
  __device__ __forceinline__ void fetch() {
    const int lane = lane_index(), turn = lane >= first_ ? lane - first_ : lane - first_ + kWarps;
    if (static_cast<int32_t>(fetched_ - passed_) < 0) far_ = cursor_, fetched_ = passed_;
    const bool go = lane < kWarps && turn < kTogether && fetched_ - passed_ < kUnits && far_.more(rings_);
    Unit unit{};
    if (go) {
      unit = far_.next(rings_);
      ++fetched_;
      if (unit.pitch == 0) {
        fetch_bulk(unit.tiles, unit.bytes);
        if (unit.super_bytes != 0) fetch_bulk(unit.supers, unit.super_bytes);
      }
    }
    for (uint32_t halves = __ballot_sync(kAllLanes, go && unit.pitch != 0); halves != 0; halves &= halves - 1)
      fetch_halves(unit, __ffs(static_cast<int>(halves)) - 1);
    first_ += kTogether;
    if (first_ >= kWarps) first_ -= kWarps;
  }
  __device__ __forceinline__ static void fetch_bulk(const std::byte* from, int32_t bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
  }
  // A lane's unit of FP16 by all lanes: 16 rows of two lines each.
  __device__ __forceinline__ static void fetch_halves(const Unit& unit, int of) {
    const auto rows = __shfl_sync(kAllLanes, reinterpret_cast<uint64_t>(unit.tiles), of);
    const int32_t pitch = __shfl_sync(kAllLanes, unit.pitch, of),
                  tiles = __shfl_sync(kAllLanes, unit.num_tiles, of);
    const int lane = lane_index();
    const std::byte* const line =
        reinterpret_cast<const std::byte*>(rows) + lane / 2 * pitch + lane % 2 * 128;
    if (lane % 2 * 2 < tiles) asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
  }

  const Rings& rings_;
  UnitCursor cursor_, far_;            // next for the ring; next to fetch
  uint32_t passed_ = 0, fetched_ = 0;  // units before them
  int first_ = 0;                      // lane whose turn it is
};

}  // namespace qwend::cuda::decode
