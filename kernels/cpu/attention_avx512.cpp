#include "kernels/cpu/attention_kernel.h"

namespace qwend::cpu {

void attend_avx512(const AttentionTask& task, float* scratch) { attend_with<simd::Avx512>(task, scratch); }

}  // namespace qwend::cpu
