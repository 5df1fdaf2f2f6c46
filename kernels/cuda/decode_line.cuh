// Values on their way between CTAs of a decode step, with the number of the layer that they belong to. All
// places are written anew in every layer, those that nobody needs too.
#pragma once
#include "kernels/cuda/decode_program.h"
#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda::decode {

// Two values in one access of 8 bytes, less the last four bits of each, and the layer's number modulo 256.
// What a place held before is the layer before's, so that one bit would do. What all CTAs read of a row
// counts: L2 gives 5.5 TB/s, and 132 copies of 7B's row in lines and four slots are 15 MB.
struct Pair {
  uint32_t low, high;
  static __device__ Pair none(uint32_t layer) { return {~layer & 0xffu, 0}; }  // of zeros
  __device__ bool of(uint32_t layer) const { return ((low ^ layer) & 0xffu) == 0; }
  __device__ float2 values() const {
    return {__uint_as_float(high & ~15u), __uint_as_float(__funnelshift_r(low, high, 4) & ~15u)};
  }
};
// What arrives of a value.
__device__ __forceinline__ float as_sent(float x) { return __uint_as_float(__float_as_uint(x) & ~15u); }
__device__ __forceinline__ uint64_t pair_of(float a, float b, uint32_t layer) {
  const uint32_t second = __float_as_uint(b) & ~15u;
  const uint32_t low = second << 4 | (layer & 0xffu), high = (__float_as_uint(a) & ~15u) | second >> 28;
  return uint64_t{high} << 32 | low;
}
__device__ __forceinline__ void send(uint64_t* to, float a, float b, uint32_t layer) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(to), "l"(pair_of(a, b, layer)) : "memory");
}
__device__ __forceinline__ void send(uint64_t* to, const float4& x, uint32_t layer) {
  asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(to), "l"(pair_of(x.x, x.y, layer)),
               "l"(pair_of(x.z, x.w, layer))
               : "memory");
}
__device__ __forceinline__ void look(const uint64_t* at, Pair (&pairs)[1]) {
  uint64_t v;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(v) : "l"(at) : "memory");
  pairs[0] = {static_cast<uint32_t>(v), static_cast<uint32_t>(v >> 32)};
}
__device__ __forceinline__ void look(const uint64_t* at, Pair (&pairs)[2]) {
  uint64_t v, w;
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];" : "=l"(v), "=l"(w) : "l"(at) : "memory");
  pairs[0] = {static_cast<uint32_t>(v), static_cast<uint32_t>(v >> 32)};
  pairs[1] = {static_cast<uint32_t>(w), static_cast<uint32_t>(w >> 32)};
}

// Adds up pairs over slots: sums[r][j] += places[at[r] + j + s * stride] for slots s, in order; runs of
// kPairs neighbours. kBatch slots are asked for together: what registers hold. What is missing is asked for
// again, and nothing else. All lanes; those that want none get zeros. They leave together: lanes that went on
// one by one ran a third of what follows twice, with a detour for each shuffle (together: 0.5B Q8_0 1,947 ->
// 2,195 tokens/s, 7B Q4_K_M 499 -> 513).
template <int kBatch, int kRuns, int kPairs>
__device__ __forceinline__ void receive_sums(const uint64_t* places, const uint32_t (&at)[kRuns], bool wanted,
                                             uint32_t stride, int32_t slots, uint32_t layer,
                                             float2 (&sums)[kRuns][kPairs]) {
  constexpr int kLooks = kBatch * kRuns;
#pragma unroll 1
  for (; slots > 0; slots -= kBatch, places += kBatch * stride) {
    Pair seen[kLooks][kPairs];
#pragma unroll
    for (auto& pairs : seen)
#pragma unroll
      for (Pair& pair : pairs) pair = Pair::none(layer);
    const int32_t count = wanted ? slots : 0;
    const auto missing = [&](int i) {
      bool there = true;
#pragma unroll
      for (const Pair& pair : seen[i]) there &= pair.of(layer);
      return i / kRuns < count && !there;
    };
    bool any;
    do {
      any = false;
#pragma unroll
      for (int i = 0; i < kLooks; ++i)
        if (missing(i)) look(places + (at[i % kRuns] + static_cast<uint32_t>(i / kRuns) * stride), seen[i]);
#pragma unroll
      for (int i = 0; i < kLooks; ++i) any |= missing(i);
    } while (__any_sync(kAllLanes, any));
#pragma unroll
    for (int i = 0; i < kLooks; ++i)  // those that were not asked for are zeros
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        const float2 v = seen[i][j].values();
        float2& sum = sums[i % kRuns][j];
        sum.x += v.x, sum.y += v.y;
      }
  }
}

}  // namespace qwend::cuda::decode
