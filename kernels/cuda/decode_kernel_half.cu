// The kernel of a decode program for FP16 weights.
#include "kernels/cuda/decode_kernel.cuh"

namespace qwend::cuda::decode {

void launch_half(const Launch& launch) { start<NoBlocks>(launch); }

}  // namespace qwend::cuda::decode
