// Skinny products of the formats with super-blocks of 256.
#include "kernels/cuda/matmul_skinny.cuh"

namespace qwend::cuda::skinny {

void launch_blocks_of_256(const Args& args, cudaStream_t stream) {
  with_block_format(args.part.dtype, [&]<class F>() {
    if constexpr (F::kBlock == 256) launch<Blocks<F>>(args, stream);
  });
}

}  // namespace qwend::cuda::skinny
