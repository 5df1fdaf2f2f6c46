// CUDA and cuBLAS failures become exceptions: at start-up they name what is missing, in a step they end the
// engine.
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace qwend::cuda {

class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void check(cudaError_t status, const char* what, const char* file, int line) {
  if (status == cudaSuccess) [[likely]]
    return;
  throw CudaError(std::string(file) + ":" + std::to_string(line) + ": " + what + ": " +
                  cudaGetErrorString(status));
}
inline void check(cublasStatus_t status, const char* what, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  throw CudaError(std::string(file) + ":" + std::to_string(line) + ": " + what + ": " +
                  cublasGetStatusString(status));
}

}  // namespace qwend::cuda

#define CUDA_CHECK(call) ::qwend::cuda::check((call), #call, __FILE__, __LINE__)
// After each launch. Errors of the kernel itself surface at the next call that waits.
#define CUDA_CHECK_LAUNCH() ::qwend::cuda::check(cudaGetLastError(), "kernel launch", __FILE__, __LINE__)
