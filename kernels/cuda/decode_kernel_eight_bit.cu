// The kernel of a decode program for Q8_0 and FP16 weights.
#include "kernels/cuda/decode_kernel.cuh"

namespace qwend::cuda::decode {

void launch_eight_bit(const Launch& launch) { start<EightBit>(launch); }

}  // namespace qwend::cuda::decode
