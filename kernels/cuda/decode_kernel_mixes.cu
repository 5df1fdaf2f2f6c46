// The kernel of a decode program for what files of four to six bits are made of.
#include "kernels/cuda/decode_kernel.cuh"

namespace qwend::cuda::decode {

void launch_mixes(const Launch& launch) { start<Mixes>(launch); }

}  // namespace qwend::cuda::decode
