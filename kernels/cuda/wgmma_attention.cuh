// A warpgroup's products of attention's weights, in registers, and values (wgmma.cuh has the others).
// Compiled for sm_90a alone.
#pragma once
#include "kernels/cuda/wgmma.cuh"

namespace qwend::cuda {

// Values as B, [keys][64 columns] tiles of halves, rows of 128 bytes, chunks swizzled by the row's lowest
// three bits, `next_columns` bytes from one tile of 64 columns to the next; 1,024-byte aligned. Here N, the
// columns, is contiguous ("MN-major", the instruction transposes): a swizzled atom is 64 columns of 8 keys.
// The stride offset leads from 8 keys to the next 8 (1,024 bytes), the leading offset from 64 columns to the
// next 64. Steps of 16 keys are 2,048 bytes apart. (PTX ISA, "Strides" of wgmma's matrices in shared memory.)
__device__ __forceinline__ uint64_t swizzled_rows(uint32_t shared, uint32_t next_columns) {
  return (shared & 0x3ffffu) >> 4 | uint64_t{next_columns >> 4} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}
// An operand so many bytes, a multiple of 16, further on.
__device__ __forceinline__ uint64_t operand_at(uint64_t operand, uint32_t bytes) {
  return operand + (bytes >> 4);
}

// What x depends on is computed before this place, which the assembler, other than the compiler, would do
// after a wait that follows: a store that would be made if x, a sum of positive numbers, were negative.
__device__ __forceinline__ void pin(float x, uint32_t shared) {
  asm volatile("{ .reg .pred p; setp.lt.f32 p, %0, 0f00000000; @p st.shared.f32 [%1], %0; }" ::"f"(x),
               "r"(shared)
               : "memory");
}

// d += a b: 64 rows of weights by 16 keys (mma.cuh has the layout of a, each warp its 16 rows) times 16 keys
// by 128 or 64 columns, as swizzled_rows().
QWEND_REGISTERS_PRODUCT(multiply_values, 128, QWEND_64_SUMS, 1, 64, 65, 66, 67, 68, QWEND_D8(0), QWEND_D8(8))
QWEND_REGISTERS_PRODUCT(multiply_values, 64, QWEND_32_SUMS, 1, 32, 33, 34, 35, 36, QWEND_D8(0))

}  // namespace qwend::cuda
