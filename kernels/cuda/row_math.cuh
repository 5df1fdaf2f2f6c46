// What kernels over rows share: vector accesses, and reductions in an order fixed by the number of threads.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/activations.h"
#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda {

// Magnitudes are compared as bits: the order of non-negative floats, with infinities and NaN above all.
__device__ inline uint32_t magnitude_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }
__device__ inline uint32_t magnitude_bits(const float4& v) {
  return max(max(magnitude_bits(v.x), magnitude_bits(v.y)), max(magnitude_bits(v.z), magnitude_bits(v.w)));
}

// All kThreads threads of the block get the sum, or those of a warp theirs. `partial` is shared memory that
// nothing else uses in the kernel.
template <int kThreads>
__device__ inline float block_sum(float v, float (&partial)[kThreads / 32]) {
  v = lanes_sum(v);
  if constexpr (kThreads == kWarp) return v;
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  float total = 0.0f;
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; ++warp) total += partial[warp];
  return total;
}

template <int kThreads>
__device__ inline uint32_t block_max(uint32_t v, uint32_t (&partial)[kThreads / 32]) {
  v = __reduce_max_sync(kAllLanes, v);
  if constexpr (kThreads == kWarp) return v;
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  uint32_t largest = 0;
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; ++warp) largest = max(largest, partial[warp]);
  return largest;
}

// Columns column .. column + 3 of a row, zeros beyond its width. vectors: rows begin at 16-byte boundaries.
__device__ inline float4 load4(const float* row, int64_t column, int64_t width, bool vectors) {
  if (vectors && column + 4 <= width) return *reinterpret_cast<const float4*>(row + column);
  float4 v{};
  if (column < width) v.x = row[column];
  if (column + 1 < width) v.y = row[column + 1];
  if (column + 2 < width) v.z = row[column + 2];
  if (column + 3 < width) v.w = row[column + 3];
  return v;
}

__device__ inline void store4(float* row, int64_t column, int64_t width, bool vectors, const float4& v) {
  if (vectors && column + 4 <= width) {
    *reinterpret_cast<float4*>(row + column) = v;
    return;
  }
  if (column < width) row[column] = v.x;
  if (column + 1 < width) row[column + 1] = v.y;
  if (column + 2 < width) row[column + 2] = v.z;
  if (column + 3 < width) row[column + 3] = v.w;
}

// Four values as FP16, times a power of two.
__device__ inline uint2 to_half4(const float4& v, float factor) {
  const __half2 low = __floats2half2_rn(v.x * factor, v.y * factor);
  const __half2 high = __floats2half2_rn(v.z * factor, v.w * factor);
  return {reinterpret_cast<const uint32_t&>(low), reinterpret_cast<const uint32_t&>(high)};
}
__device__ inline float4 from_half4(const uint2& bits, float factor) {
  const float2 low = __half22float2(reinterpret_cast<const __half2&>(bits.x));
  const float2 high = __half22float2(reinterpret_cast<const __half2&>(bits.y));
  return {low.x * factor, low.y * factor, high.x * factor, high.y * factor};
}

// Columns column .. column + 3 of a row of halves, as store4; vectors: rows begin at 8-byte boundaries.
__device__ inline void store_half4(__half* row, int64_t column, int64_t width, bool vectors, const uint2& v) {
  if (vectors && column + 4 <= width) {
    *reinterpret_cast<uint2*>(row + column) = v;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t pair = i < 2 ? v.x : v.y;
    if (column + i < width)
      row[column + i] = __ushort_as_half(static_cast<uint16_t>(i % 2 == 0 ? pair : pair >> 16));
  }
}

// What `high` = to_half4(v, factor) left over, in FP16: v * factor - high is exact before it is rounded.
__device__ inline uint2 rest_half4(const float4& v, float factor, const uint2& high) {
  const float4 h = from_half4(high, 1.0f);
  return to_half4(
      {fmaf(v.x, factor, -h.x), fmaf(v.y, factor, -h.y), fmaf(v.z, factor, -h.z), fmaf(v.w, factor, -h.w)},
      1.0f);
}
// Columns column .. column + 3 of row t, both planes, without the row's scale.
__device__ inline float4 load4(const HalfRows& in, int64_t t, int64_t column) {
  const int64_t at = t * in.stride + column;
  float4 v = from_half4(*reinterpret_cast<const uint2*>(in.rows + at), 1.0f);
  if (in.low != nullptr) {
    const float4 low = from_half4(*reinterpret_cast<const uint2*>(in.low + at), 1.0f);
    v = {v.x + low.x, v.y + low.y, v.z + low.z, v.w + low.w};
  }
  return v;
}

// Below -88 the exponential overflows and the quotient is -0: silu is smaller than 1e-36 there. (An
// exponential that exp2_fast() makes zero is lost beside 1 anyway, and __expf() takes three instructions more
// for it.)
__device__ inline float silu(float x) { return __fdividef(x, 1.0f + exp2_fast(x * -1.44269504f)); }

// Whether rows of this many floats, starting here, can be read 16 bytes at a time.
inline bool vector_rows(const void* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 4 == 0;
}

}  // namespace qwend::cuda
