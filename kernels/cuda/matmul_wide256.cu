// Wide products of the formats with super-blocks of 256.
#include "kernels/cuda/matmul_wide.cuh"

namespace qwend::cuda::wide {

void launch_blocks_of_256(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream) {
  with_block_format(args.part.dtype, [&]<class F>() {
    if constexpr (F::kBlock == 256) launch<BlockTiles<F>>(tile, args, limits, stream);
  });
}

}  // namespace qwend::cuda::wide
