// The devices there are, and their backend.
#include "kernels/cuda/cuda_backend.h"

namespace qwend {

std::vector<CudaDeviceInfo> cuda_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver or no device: nothing to report here
    return {};
  }
  std::vector<CudaDeviceInfo> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess || p.major < 8) continue;
    size_t free_bytes = 0, total_bytes = 0;
    if (cudaSetDevice(i) != cudaSuccess || cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) continue;
    devices.push_back({i, p.name, p.major, p.minor, total_bytes, free_bytes});
  }
  return devices;
}

std::unique_ptr<Backend> make_cuda_backend(int32_t device, int32_t max_tokens, int32_t max_logit_rows) {
  return std::make_unique<cuda::CudaBackend>(device, max_tokens, max_logit_rows);
}

}  // namespace qwend
