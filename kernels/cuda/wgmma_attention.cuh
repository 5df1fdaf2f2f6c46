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

#define QWEND_D(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define QWEND_D8(n)                                                                           \
  QWEND_D(n), QWEND_D(n + 1), QWEND_D(n + 2), QWEND_D(n + 3), QWEND_D(n + 4), QWEND_D(n + 5), \
      QWEND_D(n + 6), QWEND_D(n + 7)
#define QWEND_32_SUMS                                                                                    \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
  "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define QWEND_64_SUMS                                                                                      \
  QWEND_32_SUMS                                                                                            \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
  "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// d += a b: 64 rows of weights by 16 keys (mma.cuh has the layout of a, each warp its 16 rows) times 16 keys
// by 8 kTiles columns, as swizzled_rows().
__device__ __forceinline__ void multiply_values(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{ .reg .pred p; setp.eq.b32 p, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" QWEND_64_SUMS
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1; }"
      : QWEND_D8(0), QWEND_D8(8)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void multiply_values(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{ .reg .pred p; setp.eq.b32 p, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" QWEND_32_SUMS
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1; }"
      : QWEND_D8(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
#undef QWEND_64_SUMS
#undef QWEND_32_SUMS
#undef QWEND_D8
#undef QWEND_D

}  // namespace qwend::cuda
