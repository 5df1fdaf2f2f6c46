// Boxed products of FP16 rows. CTAs work in pairs: neighbouring tiles of tokens and the same weight rows. One
// asks for the gate rows and the other for the up rows, each for both, so that L2 gives 32 KB a step of 64
// columns and CTA in place of 48.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/matmul_boxed.cuh"
#include "kernels/cuda/matmul_boxed.h"
#include "kernels/cuda/tensor_map.h"

namespace qwend::cuda {
namespace boxed {
namespace {

constexpr int kCtas = 2;
constexpr uint16_t kBoth = 3;

// work.token_tiles: pairs of them.
__device__ __forceinline__ void ask_for_boxes(const Ring& ring, const Work& work, const CUtensorMap& tokens,
                                              const CUtensorMap& weights, uint32_t rank) {
  prefetch_map(tokens), prefetch_map(weights);
  constexpr int kHalf = kRows / 2;
  Place at;
  const int32_t tiles = work.token_tiles * work.row_tiles, pairs = gridDim.x / kCtas;
#pragma unroll 1
  for (int32_t tile = blockIdx.x / kCtas; tile < tiles; tile += pairs) {
    const int32_t token = (tile % work.token_tiles * kCtas + rank) * kTokens;
    const int32_t row = tile / work.token_tiles * kHalf;
#pragma unroll 1
    for (int32_t step = 0; step < work.steps; ++step, at.next()) {
      barrier_wait(ring.read(at.slot), at.parity ^ 1);
      barrier_arrive_expecting(ring.filled(at.slot), 1, kStageBytes);
      copy_box(ring.tokens(at.slot), tokens, token, step * kCols, ring.filled(at.slot));
      copy_box_to(ring.weights(at.slot) + rank * kHalf * kCols * 2, weights, row, step * kCols,
                  ring.filled(at.slot), kBoth);
    }
  }
}

__global__ void __cluster_dims__(kCtas) __launch_bounds__(kThreads, 1)
    box_kernel(const __grid_constant__ CUtensorMap tokens, const __grid_constant__ CUtensorMap gate,
               const __grid_constant__ CUtensorMap up, const __grid_constant__ Work work,
               const __grid_constant__ Gated epilogue) {
  extern __shared__ unsigned char shared[];
  const Ring ring(shared);
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) ring.clear(1, kCtas * kGroups);
  cluster_sync();
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  if (group == kGroups) {
    give_registers<24>();
    if (threadIdx.x == kGroups * kGroupThreads)
      ask_for_boxes(ring, work, tokens, rank == 0 ? gate : up, rank);
    __syncwarp();
  } else {
    take_registers<240>();
    Place at;
    const int32_t tiles = work.token_tiles * work.row_tiles, pairs = gridDim.x / kCtas;
#pragma unroll 1
    for (int32_t tile = blockIdx.x / kCtas; tile < tiles; tile += pairs) {
      Sums sums;
      multiply_tile<kCtas>(ring, group, work.steps, at, sums);
      epilogue.finish<false>(sums, (tile % work.token_tiles * kCtas + rank) * kTokens + own_row(),
                             tile / work.token_tiles, work.num_tokens);
    }
  }
  cluster_sync();  // a CTA that has left can't be written to
}

}  // namespace
}  // namespace boxed

bool has_boxed_products() {
  static const bool hopper = [] {
    int device = 0, major = 0, minor = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    return major == 9 && minor == 0;
  }();
  return hopper;
}

void boxed_gated(const BoxedWeights& gate, const BoxedWeights& up, const HalfRows& in, int32_t num_tokens,
                 const float* weight_norms, int64_t first, const HalfRowsOut& out, cudaStream_t stream) {
  using namespace boxed;
  CHECK(gate.count == up.count && gate.depth == up.depth && gate.count % 8 == 0);
  static const int multiprocessors = [] {
    CUDA_CHECK(cudaFuncSetAttribute(box_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
    return multiprocessor_count();
  }();
  const auto map_of = [](const BoxedWeights& w) {
    return tensor_map(w.rows, w.count, w.depth, w.stride, kRows / 2);
  };
  const Work work = work_of(num_tokens, kCtas * kTokens, gate.count, gate.depth);
  const int tiles = work.token_tiles * work.row_tiles;
  const auto ctas = static_cast<unsigned>(kCtas * std::min(tiles, multiprocessors / kCtas));
  box_kernel<<<ctas, kThreads, kSharedBytes, stream>>>(
      tensor_map(in.rows, num_tokens, gate.depth, in.stride, kTokens), map_of(gate), map_of(up), work,
      gated(in, weight_norms, 1.0f, first, gate.count, out));
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda
