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

// What this thread has read from or written to shared memory, or learnt of at a barrier, comes before what
// bulk copies and warpgroups' products do there afterwards: they go by another way (PTX ISA, "Async proxy").
// sm_90.
__device__ __forceinline__ void shared_before_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- barriers in shared memory that copies report to (sm_80 and newer). A phase of theirs ends when all
// expected arrivals have been, and all bytes of bulk copies.

__device__ __forceinline__ void barrier_init(uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// One of the expected arrivals, when this thread's copies so far have ended.
__device__ __forceinline__ void barrier_follow_copies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(barrier) : "memory");
}
// Whether the phase of this parity has ended: 0 is the first's.
__device__ __forceinline__ bool barrier_ended(uint32_t barrier, uint32_t parity) {
  uint32_t ended;
  asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
               : "=r"(ended)
               : "r"(barrier), "r"(parity)
               : "memory");
  return ended != 0;
}
// Until it has.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
  uint32_t ended;
  do {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(ended)
                 : "r"(barrier), "r"(parity)
                 : "memory");
  } while (ended == 0);
#else
  while (!barrier_ended(barrier, parity)) {
  }
#endif
}

// ---- bulk copies: sm_90 and newer

// Bytes of bulk copies that the phase waits for.
__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
// The same, with so many of the expected arrivals.
__device__ __forceinline__ void barrier_arrive_expecting(uint32_t barrier, int arrivals, uint32_t bytes) {
  barrier_expect(barrier, bytes);
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0], %1; }" ::"r"(barrier),
               "r"(arrivals)
               : "memory");
}
// For copies of what is read once: first out of L2.
__device__ __forceinline__ uint64_t first_out_policy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
// Of what is read once. All of it 16-byte aligned and in multiples of 16 bytes; by one thread.
__device__ __forceinline__ void copy_bulk_once(uint32_t shared, const void* global, uint32_t bytes,
                                               uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, "
      "[%3], %4;" ::"r"(shared),
      "l"(global), "r"(bytes), "r"(barrier), "l"(first_out_policy())
      : "memory");
}
// Into L2 alone.
__device__ __forceinline__ void fetch_bulk(const void* global, uint32_t bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(bytes) : "memory");
}

}  // namespace qwend::cuda
