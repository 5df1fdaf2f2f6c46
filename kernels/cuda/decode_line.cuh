// Values on their way between CTAs of a decode step, with the number of the layer that they belong to.
#pragma once
#include "kernels/cuda/decode_program.h"

namespace qwend::cuda::decode {

// Each half of a line is one access of 8 bytes: a value and its number are never seen apart.
__device__ __forceinline__ uint64_t half_line(float value, uint32_t layer) {
  return uint64_t{layer} << 32 | __float_as_uint(value);
}
__device__ __forceinline__ void send(DecodeLine* line, float a, float b, uint32_t layer) {
  asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(line), "l"(half_line(a, layer)),
               "l"(half_line(b, layer))
               : "memory");
}
struct Seen {
  uint64_t a, b;
  __device__ bool of(uint32_t layer) const {
    return static_cast<uint32_t>(a >> 32) == layer && static_cast<uint32_t>(b >> 32) == layer;
  }
  __device__ float2 values() const {
    return {__uint_as_float(static_cast<uint32_t>(a)), __uint_as_float(static_cast<uint32_t>(b))};
  }
};
__device__ __forceinline__ Seen look(const DecodeLine* line) {
  Seen seen;
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];"
               : "=l"(seen.a), "=l"(seen.b)
               : "l"(line)
               : "memory");
  return seen;
}

// sums[j] += lines[s * stride + j] for slots s = 0 .. kSlots: asked for together, and again until all are
// there. The second half of the lines lies `apart` from the first.
template <int kSlots, int kLines>
__device__ __forceinline__ void receive_slots(const DecodeLine* lines, int64_t stride, int64_t apart,
                                              uint32_t layer, float2 (&sums)[kLines]) {
  constexpr int kHalf = (kLines + 1) / 2;
  Seen seen[kSlots][kLines];
  bool there;
  do {
    there = true;
#pragma unroll
    for (int s = 0; s < kSlots; ++s)
#pragma unroll
      for (int j = 0; j < kLines; ++j)
        seen[s][j] = look(lines + s * stride + (j < kHalf ? j : apart + j - kHalf));
#pragma unroll
    for (int s = 0; s < kSlots; ++s)
#pragma unroll
      for (int j = 0; j < kLines; ++j) there &= seen[s][j].of(layer);
  } while (!there);
#pragma unroll
  for (int s = 0; s < kSlots; ++s)
#pragma unroll
    for (int j = 0; j < kLines; ++j) {
      const float2 v = seen[s][j].values();
      sums[j].x += v.x, sums[j].y += v.y;
    }
}
// The same for any number of slots, in order.
template <int kLines>
__device__ __forceinline__ void receive_sums(const DecodeLine* lines, int64_t stride, int64_t apart,
                                             int32_t slots, uint32_t layer, float2 (&sums)[kLines]) {
  constexpr int kBatch = kLines > 2 ? 2 : 4;  // registers
#pragma unroll 1
  for (; slots >= kBatch; slots -= kBatch, lines += kBatch * stride)
    receive_slots<kBatch>(lines, stride, apart, layer, sums);
  if (kBatch > 2 && slots >= 2) receive_slots<2>(lines, stride, apart, layer, sums), lines += 2 * stride;
  if (slots % 2 != 0) receive_slots<1>(lines, stride, apart, layer, sums);
}

}  // namespace qwend::cuda::decode
