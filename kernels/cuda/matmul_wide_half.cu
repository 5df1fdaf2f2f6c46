// Wide products of FP16 weights.
#include "kernels/cuda/matmul_wide.cuh"

namespace qwend::cuda::wide {

void launch_half(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream) {
  launch<HalfTiles>(tile, args, limits, stream);
}

}  // namespace qwend::cuda::wide
