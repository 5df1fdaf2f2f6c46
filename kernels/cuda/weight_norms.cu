#include "kernels/cuda/activations.h"
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/tile_decode.cuh"
#include "kernels/cuda/weight_norms.h"

namespace qwend::cuda {
namespace {

constexpr int kWarps = 8;

struct Norms {
  float* largest;
  int64_t second_half;                                      // the matrix's first row that counts there
  __device__ void fold(int64_t row, float squares) const {  // non-negative floats compare as their bits
    atomicMax(reinterpret_cast<uint32_t*>(largest) + (row >= second_half ? 1 : 0),
              __float_as_uint(sqrtf(squares)));
  }
};

// One warp a row tile.
template <class F>
__global__ void __launch_bounds__(32 * kWarps) tile_norms(WeightPart part, Norms norms) {
  const int lane = lane_index();
  const int64_t row_tile = int64_t{blockIdx.x} * kWarps + warp_index();
  if (row_tile >= part.row_tiles()) return;
  float squares[2] = {};  // of the lane's rows
  for (int64_t tile = 0; tile < part.col_tiles(); ++tile) {
    TileShare<F> share;
    load_tile<F>(part, 0, row_tile, tile, lane, share);
    decode_tile<F>(share, lane, [&](int row, int, const float4& v) {
      squares[row / 8] += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    });
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t row = row_tile * kTileRows + lane / 4 + 8 * r;
    const float sum = lanes_sum<4>(squares[r]);
    if (lane % 4 == 0 && row < part.rows) norms.fold(part.first_row + row, sum);
  }
}

// One warp a row.
template <class T>
__global__ void __launch_bounds__(32 * kWarps) float_norms(WeightPart part, Norms norms) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp_index();
  if (row >= part.rows) return;
  const T* const values = reinterpret_cast<const T*>(part.data) + row * padded_width(part.cols);
  float squares = 0.0f;
  for (int64_t i = lane_index(); i < part.cols; i += kWarp) {
    const auto v = static_cast<float>(values[i]);
    squares += v * v;
  }
  squares = lanes_sum(squares);
  if (lane_index() == 0) norms.fold(part.first_row + row, squares);
}

}  // namespace

void largest_row_norms(const CudaMatrix& matrix, float* largest, cudaStream_t stream) {
  const Norms norms{largest, matrix.rows() / 2};
  for (const WeightPart& part : matrix.parts()) {
    const auto blocks = [](int64_t warps) { return static_cast<unsigned>(ceil_div<int64_t>(warps, kWarps)); };
    if (part.dtype == DType::F32) {
      float_norms<float><<<blocks(part.rows), 32 * kWarps, 0, stream>>>(part, norms);
    } else if (part.dtype == DType::F16) {
      float_norms<__half><<<blocks(part.rows), 32 * kWarps, 0, stream>>>(part, norms);
    } else {
      with_block_format(part.dtype, [&]<class F>() {
        tile_norms<F><<<blocks(part.row_tiles()), 32 * kWarps, 0, stream>>>(part, norms);
      });
    }
    CUDA_CHECK_LAUNCH();
  }
}

}  // namespace qwend::cuda
