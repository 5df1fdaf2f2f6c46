#include "kernels/cpu/vector_ops_kernel.h"

namespace qwend::cpu {

const VectorOps& avx2_vector_ops() {
  static constexpr VectorOps ops = VectorKernels<simd::Avx2>::table("AVX2");
  return ops;
}

}  // namespace qwend::cpu
