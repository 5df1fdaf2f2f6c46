// What a build without CUDA answers.
#include <stdexcept>

#include "kernels/backend.h"
#include "kernels/yardstick.h"

namespace qwend {

std::vector<CudaDeviceInfo> cuda_devices() { return {}; }

std::unique_ptr<Backend> make_cuda_backend(int32_t, int32_t, int32_t) {
  throw std::runtime_error("this build of qwend has no CUDA");
}

Yardstick measure_cuda(int32_t) { throw std::runtime_error("this build of qwend has no CUDA"); }

}  // namespace qwend
