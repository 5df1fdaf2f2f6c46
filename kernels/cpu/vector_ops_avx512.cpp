#include "kernels/cpu/vector_ops_kernel.h"

namespace qwend::cpu {

const VectorOps& avx512_vector_ops() {
  static constexpr VectorOps ops = VectorKernels<simd::Avx512>::table("AVX-512");
  return ops;
}

}  // namespace qwend::cpu
