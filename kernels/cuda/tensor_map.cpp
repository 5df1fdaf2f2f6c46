#include "kernels/cuda/tensor_map.h"

#include <cudaTypedefs.h>

#include <string>

#include "kernels/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/launch.h"

namespace qwend::cuda {
namespace {

// Asked of the driver that is there: linking its library would keep the program from starting without one.
PFN_cuTensorMapEncodeTiled_v12000 encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault,
                                              &found));
  if (found != cudaDriverEntryPointSuccess) throw CudaError("the driver does not know tensor maps");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

}  // namespace

bool has_tensor_maps() { return compute_capability() >= 90; }

CUtensorMap tensor_map(const __half* data, int64_t rows, int64_t cols, int64_t stride, int32_t box_rows) {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = encoder();
  CHECK(rows > 0 && cols > 0 && stride >= cols && stride % 8 == 0 && box_rows > 0 && box_rows <= 256);
  CHECK(reinterpret_cast<uintptr_t>(data) % 16 == 0);
  CUtensorMap map{};
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t row_bytes[1] = {static_cast<cuuint64_t>(stride) * sizeof(__half)};
  const cuuint32_t box[2] = {kBoxCols, static_cast<cuuint32_t>(box_rows)}, steps[2] = {1, 1};
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, const_cast<__half*>(data), sizes, row_bytes, box,
             steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw CudaError("cuTensorMapEncodeTiled: error " + std::to_string(status));
  return map;
}

}  // namespace qwend::cuda
