// Maps of matrices for Hopper's tensor memory accelerator: what tma.cuh copies boxes by.
#pragma once
#include <cuda.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace qwend::cuda {

// Columns of a box: 128 bytes, the width of the swizzle.
inline constexpr int32_t kBoxCols = 64;
// Of a box's place in shared memory, so that the swizzle is by the row of the box.
inline constexpr int32_t kBoxAlignment = 1024;

// Whether the current device copies by them: compute capability 9.0 and newer. Throws CudaError.
bool has_tensor_maps();

// A row-major matrix of halves in device memory, [rows, cols], rows `stride` elements apart. A box is
// box_rows (1 .. 256) rows of kBoxCols columns; in shared memory its rows are 128 bytes apart, chunks of 16
// bytes swizzled by the row's lowest three bits, as warpgroups' products read them (wgmma.cuh). What lies
// beyond the matrix comes as zeros. data is 16-byte aligned, stride a multiple of 8.
//
// Host memory, handed to kernels by value (__grid_constant__), or copied to the device, where they must be
// acquired (tma.cuh). Throws CudaError. Any thread; some
// microseconds the first time, below one afterwards. (CUDA driver API, "Tensor Map Object Management".)
CUtensorMap tensor_map(const __half* data, int64_t rows, int64_t cols, int64_t stride, int32_t box_rows);

}  // namespace qwend::cuda
