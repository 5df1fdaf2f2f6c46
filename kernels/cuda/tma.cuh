// Copies of boxes of a matrix by Hopper's tensor memory accelerator (tensor_map.h), and what CTAs of a
// cluster need to share them. For sm_90 and newer. (PTX ISA, "cp.async.bulk.tensor", "mapa", "mbarrier".)
#pragma once
#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda {

// By one thread, before the first copy that uses the map.
__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// A map in global memory that the host has written is seen as it is, not as what was at its address before.
// By a thread of each CTA, with a barrier before others use the map. (PTX ISA, "membar / fence",
// proxy.tensormap.)
__device__ __forceinline__ void acquire_map(const CUtensorMap& map) {
  asm volatile("fence.proxy.tensormap::generic.acquire.sys [%0], 128;" ::"l"(&map) : "memory");
}

// The box whose first element is (row, col), to 1,024-byte aligned shared memory; its bytes, those beyond the
// matrix too, are reported to `barrier` (barrier_arrive_expecting()). By one thread.
__device__ __forceinline__ void copy_box(uint32_t shared, const CUtensorMap& map, int32_t row, int32_t col,
                                         uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
      "%3}], "
      "[%4];" ::"r"(shared),
      "l"(&map), "r"(col), "r"(row), "r"(barrier)
      : "memory");
}
// The same of what is read once: first out of L2.
__device__ __forceinline__ void copy_box_once(uint32_t shared, const CUtensorMap& map, int32_t row,
                                              int32_t col, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1, {%2, %3}], [%4], %5;" ::"r"(shared),
      "l"(&map), "r"(col), "r"(row), "r"(barrier), "l"(first_out_policy())
      : "memory");
}
// The box into L2 alone.
__device__ __forceinline__ void fetch_box(const CUtensorMap& map, int32_t row, int32_t col) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&map), "r"(col),
               "r"(row)
               : "memory");
}
// copy_box() to this place in each CTA of the cluster whose bit is set in `ctas`, reported to each one's
// barrier of this address.
__device__ __forceinline__ void copy_box_to(uint32_t shared, const CUtensorMap& map, int32_t row, int32_t col,
                                            uint32_t barrier, uint16_t ctas) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared),
      "l"(&map), "r"(col), "r"(row), "r"(barrier), "h"(ctas)
      : "memory");
}

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// All threads of all CTAs of the cluster.
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
}
// Bytes of this CTA's shared memory, a multiple of 16, to the same place in CTA `rank` of the cluster, whose
// barrier of this address expects them.
__device__ __forceinline__ void copy_to_cta(uint32_t shared, uint32_t bytes, uint32_t barrier,
                                            uint32_t rank) {
  asm volatile(
      "{ .reg .b32 to; .reg .b32 there; mapa.shared::cluster.u32 to, %0, %3; mapa.shared::cluster.u32 there, "
      "%2, %3;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [to], [%0], %1, [there]; }" ::
          "r"(shared),
      "r"(bytes), "r"(barrier), "r"(rank)
      : "memory");
}
// One arrival at the barrier of this address in CTA `rank` of the cluster.
__device__ __forceinline__ void barrier_arrive_at(uint32_t barrier, uint32_t rank) {
  asm volatile(
      "{ .reg .b32 there; mapa.shared::cluster.u32 there, %0, %1; mbarrier.arrive.shared::cluster.b64 _, "
      "[there]; }" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

// Registers of each thread of a warpgroup, a multiple of 8 (sm_90a): given back, or asked for until there are
// enough.
template <int kCount>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

}  // namespace qwend::cuda
