// Device helpers that several kernels share: reductions over lanes, FP16, asynchronous copies (sm_80 and
// newer).
#pragma once
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/split_half.h"

namespace qwend::cuda {

inline constexpr int32_t kWarp = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

template <class T>
__host__ __device__ constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

__device__ __forceinline__ int32_t lane_index() { return static_cast<int32_t>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int32_t warp_index() { return static_cast<int32_t>(threadIdx.x) / kWarp; }

// ---- reductions: every lane gets the result; the order of sums is fixed.

// Over groups of kLanes neighbouring lanes, a power of two.
template <int kLanes = kWarp>
__device__ __forceinline__ float lanes_sum(float x) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
  return x;
}
template <int kLanes = kWarp>
__device__ __forceinline__ float lanes_max(float x) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}
// Lane i gets the sum over lanes 0 .. i.
__device__ __forceinline__ int32_t warp_inclusive_sum(int32_t x) {
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int32_t lower = __shfl_up_sync(kAllLanes, x, distance);
    if (lane_index() >= distance) x += lower;
  }
  return x;
}

// ---- FP16

__device__ __forceinline__ uint32_t half2_bits(__half2 x) {
  return static_cast<uint32_t>(__half_as_ushort(__high2half(x))) << 16 | __half_as_ushort(__low2half(x));
}
__device__ __forceinline__ uint32_t pack_half2(float low, float high) {
  return half2_bits(__floats2half2_rn(low, high));
}

// 2^x to 2 ulp; results below 2^-126 become zero.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// ---- asynchronous copies to shared memory

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
// 16 bytes past L1, both sides aligned to 16; nothing is read and zeros are stored where !valid.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kPending of this thread's committed groups are on their way.
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace qwend::cuda
