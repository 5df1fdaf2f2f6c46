// The kernel of a decode program for weights of any formats.
#include "kernels/cuda/decode_kernel.cuh"

namespace qwend::cuda::decode {

void launch_any(const Launch& launch) { start<quant::BlockFormats>(launch); }

}  // namespace qwend::cuda::decode
