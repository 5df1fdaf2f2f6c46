// Wide products by warpgroups, for all formats. Compiled for sm_90a alone.
#include "kernels/check.h"
#include "kernels/cuda/matmul_wide_hopper.cuh"

namespace qwend::cuda::wide {
namespace {

template <class W, class S>
void start_hopper(const Args& args, const Limits& limits, cudaStream_t stream) {
  launch<W, S>(hopper_kernel<W, S>, args, limits, stream);
}

template <class W>
void launch_tile(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream) {
  switch (tile) {
    case WideTile::h128x64: return start_hopper<W, HopperShape<2, 8, 4, 2>>(args, limits, stream);
    case WideTile::h128x128: return start_hopper<W, HopperShape<2, 16, 4, 2>>(args, limits, stream);
    case WideTile::h256x128: return start_hopper<W, HopperShape<2, 16, 8, 1>>(args, limits, stream);
    default: CHECK(!"a tile of warpgroups");
  }
}

}  // namespace

void launch_hopper(WideTile tile, const Args& args, const Limits& limits, cudaStream_t stream) {
  if (args.part.dtype == DType::F16) return launch_tile<HalfTiles>(tile, args, limits, stream);
  with_block_format(args.part.dtype,
                    [&]<class F>() { launch_tile<BlockTiles<F>>(tile, args, limits, stream); });
}

}  // namespace qwend::cuda::wide
