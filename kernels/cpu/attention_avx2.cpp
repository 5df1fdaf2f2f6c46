#include "kernels/cpu/attention_kernel.h"

namespace qwend::cpu {

void attend_avx2(const AttentionTask& task, float* scratch) { attend_with<simd::Avx2>(task, scratch); }

}  // namespace qwend::cpu
