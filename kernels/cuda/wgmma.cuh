// Tensor-core products of a warpgroup (4 warps) on Hopper: A from registers or shared memory, B from shared
// memory, asynchronous. Compiled for sm_90a alone.
#pragma once
#include <cstdint>

#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda {

// B as [tokens][64 columns] of halves, rows of 128 bytes, chunks of 16 bytes swizzled by the row's lowest
// three bits; 1,024-byte aligned. Steps of 16 columns are 32 bytes apart. (PTX ISA, "Matrix descriptor":
// start address
// >> 4, stride of 8 rows >> 4 from bit 32, 128-byte swizzle at bit 62; the leading offset is not used.)
__device__ __forceinline__ uint64_t swizzled_operand(uint32_t shared) {
  return (shared & 0x3ffffu) >> 4 | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

__device__ __forceinline__ uint64_t swizzled_operand(const void* shared) {
  return swizzled_operand(shared_address(shared));
}

// Before the first product after registers were written by other instructions.
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits until at most kPending committed groups run.
template <int kPending>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving what reads or writes these registers across this place: products in flight
// write to them behind its back, and neither their fence nor their wait names them.
template <int kTiles>
__device__ __forceinline__ void hold(float (&d)[kTiles][4]) {
#pragma unroll
  for (auto& tile : d)
#pragma unroll
    for (float& sum : tile) asm volatile("" : "+f"(sum)::"memory");
}
template <int kTiles>
__device__ __forceinline__ void hold(uint32_t (&a)[kTiles][4]) {
#pragma unroll
  for (auto& tile : a)
#pragma unroll
    for (uint32_t& pair : tile) asm volatile("" : "+r"(pair)::"memory");
}

// Operands of products in inline PTX: sums of eight n-tiles, and the numbers of 32 to 128 of them.
#define QWEND_D(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define QWEND_D8(n)                                                                           \
  QWEND_D(n), QWEND_D(n + 1), QWEND_D(n + 2), QWEND_D(n + 3), QWEND_D(n + 4), QWEND_D(n + 5), \
      QWEND_D(n + 6), QWEND_D(n + 7)
#define QWEND_32_SUMS                                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20" \
  ", %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define QWEND_64_SUMS                                                                               \
  QWEND_32_SUMS                                                                                     \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50" \
  ", %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define QWEND_96_SUMS                                                                               \
  QWEND_64_SUMS                                                                                     \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82" \
  ", %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define QWEND_128_SUMS                                                                           \
  QWEND_96_SUMS                                                                                  \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// d += a b: each warp's 16 rows of A (mma.cuh has the layout of a and of d[n], n-tiles of 8 columns of B) by
// `columns` of B; `transpose` 1: B as swizzled_rows() (wgmma_attention.cuh). The numbers are those of the
// operands behind the sums.
#define QWEND_REGISTERS_PRODUCT(name, columns, sums, transpose, a0, a1, a2, a3, at_b, ...)             \
  __device__ __forceinline__ void name(float(&d)[columns / 8][4], const uint32_t(&a)[4], uint64_t b) { \
    asm volatile(                                                                                      \
        "{ .reg .pred p; setp.eq.b32 p, 0, 0;\n"                                                       \
        "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.f16.f16 {" sums "}, {%" #a0 ", %" #a1    \
        ", %" #a2 ", %" #a3 "}, %" #at_b ", p, 1, 1, " #transpose "; }"                                \
        : __VA_ARGS__                                                                                  \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                         \
  }
QWEND_REGISTERS_PRODUCT(product_async, 128, QWEND_64_SUMS, 0, 64, 65, 66, 67, 68, QWEND_D8(0), QWEND_D8(8))
QWEND_REGISTERS_PRODUCT(product_async, 64, QWEND_32_SUMS, 0, 32, 33, 34, 35, 36, QWEND_D8(0))

// The same with A from shared memory too, [64 rows][64 columns] as B; add 0: d = a b.
#define QWEND_SHARED_PRODUCT(columns, sums, at_a, at_b, at_add, ...)                                \
  __device__ __forceinline__ void product_shared(float(&d)[columns / 8][4], uint64_t a, uint64_t b, \
                                                 int add) {                                         \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #at_add                                         \
                 ", 0;\n"                                                                           \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.f16.f16 {" sums "}, %" #at_a \
                 ", %" #at_b ", p, 1, 1, 0, 0; }"                                                   \
                 : __VA_ARGS__                                                                      \
                 : "l"(a), "l"(b), "r"(add));                                                       \
  }
QWEND_SHARED_PRODUCT(256, QWEND_128_SUMS, 128, 129, 130, QWEND_D8(0), QWEND_D8(8), QWEND_D8(16), QWEND_D8(24))
QWEND_SHARED_PRODUCT(192, QWEND_96_SUMS, 96, 97, 98, QWEND_D8(0), QWEND_D8(8), QWEND_D8(16))
QWEND_SHARED_PRODUCT(128, QWEND_64_SUMS, 64, 65, 66, QWEND_D8(0), QWEND_D8(8))
QWEND_SHARED_PRODUCT(64, QWEND_32_SUMS, 32, 33, 34, QWEND_D8(0))

}  // namespace qwend::cuda
