// Tensor cores, as PTX has them since sm_80.
#pragma once
#include <cstdint>

namespace qwend::cuda {

// d += a b for a 16x16 FP16 (row), b 16x8 FP16 (col), d 16x8 FP32. Lane 4g + c: a0 = rows g, columns 2c,
// 2c+1; a1 rows g+8; a2, a3 columns + 8. b0 = rows 2c, 2c+1 of column g; b1 rows + 8. d0, d1 = row g, columns
// 2c, 2c+1; d2, d3 row g+8. (PTX ISA, "Matrix fragments for mma.m16n8k16".)
__device__ inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b for a 16x32 unsigned bytes (row), b 32x8 signed bytes (col), d 16x8 INT32. Lane 4g + c: a0 = row
// g, columns 4c .. 4c+3; a1 row g+8; a2, a3 columns + 16. b0 = rows 4c .. 4c+3 of column g; b1 rows + 16. d
// as above. (PTX ISA, "Matrix fragments for mma.m16n8k32".)
__device__ inline void mma_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of halves from shared memory. Lane l gives the address of row l % 8 of matrix l / 8 (16
// bytes, aligned); lane 4g + c gets (row g; columns 2c, 2c+1) of each.
__device__ inline void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
// The same, each matrix transposed: lane 4g + c gets (rows 2c, 2c+1; column g).
__device__ inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

}  // namespace qwend::cuda
