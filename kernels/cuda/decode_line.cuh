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

// Adds up lines over slots: sums[r][j] += lines[at[r] + j + s * stride] for slots s, in order; runs of
// kLength neighbours. As many slots are asked for together as registers hold. What is missing is asked for
// again, and nothing else: all that CTAs read of a wide row is more than L2 gives in the time that one line
// takes.
template <int kBatch, int kRuns, int kLength>
__device__ __forceinline__ void receive_sums(const DecodeLine* lines, const uint32_t (&at)[kRuns],
                                             uint32_t stride, int32_t slots, uint32_t layer,
                                             float2 (&sums)[kRuns][kLength]) {
  constexpr int kLines = kBatch * kRuns * kLength;
#pragma unroll 1
  for (; slots > 0; slots -= kBatch, lines += kBatch * stride) {
    Seen seen[kLines] = {};
    bool there;
    do {
      there = true;
#pragma unroll
      for (int i = 0; i < kLines; ++i) {
        const int slot = i / kLength / kRuns;
        const uint32_t line = at[i / kLength % kRuns] + static_cast<uint32_t>(slot) * stride + i % kLength;
        if (slot < slots && !seen[i].of(layer)) seen[i] = look(lines + line);
      }
#pragma unroll
      for (int i = 0; i < kLines; ++i) there &= i / kLength / kRuns >= slots || seen[i].of(layer);
    } while (!there);
#pragma unroll
    for (int i = 0; i < kLines; ++i) {
      if (i / kLength / kRuns >= slots) continue;
      const float2 v = seen[i].values();
      float2& sum = sums[i / kLength % kRuns][i % kLength];
      sum.x += v.x, sum.y += v.y;
    }
  }
}

}  // namespace qwend::cuda::decode
