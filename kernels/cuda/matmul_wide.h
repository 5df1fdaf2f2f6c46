// Products of block formats with tens of rows: the range between one pass over the weights for a few tokens
// (matmul_skinny) and expanding them for cuBLASLt (LargeMatmul).
#pragma once
#include <cstdint>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

inline constexpr int32_t kMaxWideRows = 128;

// Owns scratch for sums that several CTAs share. One thread, one stream. Sums run in an order fixed by the
// matrix and the device's number of multiprocessors.
class WideMatmul {
 public:
  explicit WideMatmul(cudaStream_t stream);
  // Block formats only; SwiGlu as skinny_serves() says, with rows / 2 a multiple of 64.
  static bool serves(const CudaMatrix& w, Epilogue epilogue);
  // Requires serves() and num_tokens <= kMaxWideRows; SwiGlu: one plane. A second plane is a second pass over
  // the weights.
  void run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
           const MatmulOut& out);

 private:
  cudaStream_t stream_;
  int multiprocessors_;
  DeviceBuffer<float> partial_;
  DeviceBuffer<uint32_t> arrivals_;  // 0 between launches
};

}  // namespace qwend::cuda
