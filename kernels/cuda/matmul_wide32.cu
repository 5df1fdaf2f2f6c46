// Wide products of the formats with blocks of 32.
#include "kernels/cuda/matmul_wide.cuh"

namespace qwend::cuda::wide {

void launch_blocks_of_32(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream) {
  with_block_format(args.part.dtype, [&]<class F>() {
    if constexpr (F::kBlock == 32) launch<BlockTiles<F>>(tile, args, limits, stream);
  });
}

}  // namespace qwend::cuda::wide
