#include "kernels/cpu/attention.h"

#include "kernels/cpu/attention_kernel.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/simd_portable.h"

namespace qwend::cpu {

void attend_portable(const AttentionTask& task, float* scratch) {
  attend_with<simd::Portable>(task, scratch);
}

AttendFn attend() {
#if defined(__x86_64__)
  if (best_isa() == Isa::Avx512) return attend_avx512;
  if (best_isa() == Isa::Avx2) return attend_avx2;
#endif
  return attend_portable;
}

}  // namespace qwend::cpu
