// Skinny products of the formats with blocks of 32.
#include "kernels/cuda/matmul_skinny.cuh"

namespace qwend::cuda::skinny {

void launch_blocks_of_32(const Args& args, cudaStream_t stream) {
  with_block_format(args.part.dtype, [&]<class F>() {
    if constexpr (F::kBlock == 32) launch<Blocks<F>>(args, stream);
  });
}

}  // namespace qwend::cuda::skinny
