// A product of FP16 matrices by cuBLASLt, with algorithms that give the same bits every time.
//
// Row-major out [T, N] = in [T, K] W^T is, for a column-major library, C (N x T) = A^T B with A = W as K x N
// and B = in as K x T. No sum is split along K: each element is accumulated by one block in the order of K.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/cuda/resources.h"

namespace qwend::cuda {

// FP16 rows, `stride` elements apart.
struct Operand {
  const __half* data = nullptr;
  int64_t stride = 0;
};

// Where sums go: FP32, or FP16. stride: elements between rows.
struct SumRows {
  void* data = nullptr;
  int64_t stride = 0;
  cudaDataType_t type = CUDA_R_32F;

  size_t element() const { return type == CUDA_R_32F ? sizeof(float) : sizeof(__half); }
  void* at(int64_t column) const {
    return static_cast<std::byte*>(data) + static_cast<size_t>(column) * element();
  }
};

// One library call: c [T, c.stride] = alpha b a^T (+ c where beta is 1), for `rows` rows of a. Two of a kind
// in one: for the rows of a, or of b, that begin second_a or second_b elements further on too, with their
// sums second_c further on.
struct Gemm {
  Operand a;
  int64_t second_a = 0, second_b = 0, second_c = 0;  // second_c 0: there is no second
  int64_t rows = 0, depth = 0;
  Operand b;
  int32_t num_tokens = 0;
  float alpha = 1.0f, beta = 0.0f;
  SumRows c;
};

// The library, its workspace and the algorithms chosen so far. One thread, one stream; takes device memory at
// construction only.
class LibraryGemm {
 public:
  explicit LibraryGemm(cudaStream_t stream);
  ~LibraryGemm();
  // Queues g. Throws CudaError, also when the library has no algorithm for it.
  void multiply(const Gemm& g);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend::cuda
