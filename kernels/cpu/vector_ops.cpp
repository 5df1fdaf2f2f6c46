#include "kernels/cpu/vector_ops.h"

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/simd_portable.h"
#include "kernels/cpu/vector_ops_kernel.h"

namespace qwend::cpu {

const VectorOps& portable_vector_ops() {
  static constexpr VectorOps ops = VectorKernels<simd::Portable>::table("portable");
  return ops;
}

const VectorOps& vector_ops() {
  static const VectorOps& ops = [isa = best_isa()]() -> const VectorOps& {
#if defined(__x86_64__)
    if (isa == Isa::Avx512) return avx512_vector_ops();
    if (isa == Isa::Avx2) return avx2_vector_ops();
#endif
    return portable_vector_ops();
  }();
  return ops;
}

}  // namespace qwend::cpu
