// The kernel of boxed products of FP16 rows. CTAs work in pairs: neighbouring tiles of tokens and the same
// weight rows. Each asks for half of the weight rows, for both, so that L2 gives 32 KB a step of 64 columns
// and CTA in place of 48. Compiled for sm_90a alone.
#pragma once
#include <algorithm>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/matmul_boxed.cuh"
#include "kernels/cuda/tensor_map.h"

namespace qwend::cuda::boxed {

inline constexpr int kHalfRows = kRows / kCtas;
inline constexpr uint16_t kBoth = 3;

// What boxes are cut from: rows of tokens in one plane or two (then work.steps covers both, one after the
// other: the low one first, as a small term added to a large sum is cut off), and the weight rows of a tile:
// CTA r of a pair asks for rows_a_tile * tile + first[r] on of weights[r].
struct Boxes {
  CUtensorMap first_plane, second_plane, weights[kCtas];
  int32_t rows_a_tile, first[kCtas];
  int32_t plane_steps;
};

// work.token_tiles: pairs of them. kTileRows: of weights, in the first part of a stage's place.
template <int kTileRows>
__device__ __forceinline__ void ask_for_boxes(const Ring& ring, const Work& work, const Boxes& boxes,
                                              uint32_t rank) {
  const CUtensorMap& weights = rank == 0 ? boxes.weights[0] : boxes.weights[1];
  const int32_t first = rank == 0 ? boxes.first[0] : boxes.first[1];
  constexpr int kHalf = kTileRows / kCtas;
  prefetch_map(boxes.first_plane), prefetch_map(weights);
  Place at;
  const int32_t tiles = work.token_tiles * work.row_tiles, pairs = gridDim.x / kCtas;
#pragma unroll 1
  for (int32_t tile = blockIdx.x / kCtas; tile < tiles; tile += pairs) {
    const int32_t token = (tile % work.token_tiles * kCtas + rank) * kTokens;
    const int32_t row = tile / work.token_tiles * boxes.rows_a_tile + first;
#pragma unroll 1
    for (int32_t step = 0; step < work.steps; ++step, at.next()) {
      const bool second = step >= boxes.plane_steps;
      const int32_t col = (second ? step - boxes.plane_steps : step) * kCols;
      const uint32_t filled = ring.filled(at.slot);
      barrier_wait(ring.read(at.slot), at.parity ^ 1);
      barrier_arrive_expecting(filled, 1, kTokenBytes + kTileRows * kCols * 2);
      copy_box(ring.tokens(at.slot), second ? boxes.second_plane : boxes.first_plane, token, col, filled);
      copy_box_to(ring.weights(at.slot) + rank * kHalf * kCols * 2, weights, row, col, filled, kBoth);
    }
  }
}

// epilogue.finish(sums, row, tile, num_tokens): the lane's sums [.][0] are of token `row`, rows_a_tile * tile
// on.
template <class Epilogue>
__global__ void __cluster_dims__(kCtas) __launch_bounds__(kThreads, 1)
    box_kernel(const __grid_constant__ Boxes boxes, const __grid_constant__ Work work,
               const __grid_constant__ Epilogue epilogue) {
  extern __shared__ unsigned char shared[];
  const Ring ring(shared);
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) ring.clear(1, kCtas * kGroups);
  cluster_sync();
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  if (group == kGroups) {
    give_registers<24>();
    if (threadIdx.x == kGroups * kGroupThreads) ask_for_boxes<Epilogue::kTileRows>(ring, work, boxes, rank);
    __syncwarp();
  } else {
    take_registers<240>();
    multiply_tiles<Epilogue::kTileRows>(ring, group, work, rank,
                                        [&](const auto& sums, int32_t row, int32_t tile) {
                                          epilogue.finish(sums, row, tile, work.num_tokens);
                                        });
  }
  cluster_sync();  // a CTA that has left can't be written to
}

template <class Epilogue>
void launch_pairs(const Boxes& boxes, const Work& work, const Epilogue& epilogue, cudaStream_t stream) {
  static const int multiprocessors = [] {
    CUDA_CHECK(cudaFuncSetAttribute(box_kernel<Epilogue>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    kSharedBytes));
    return multiprocessor_count();
  }();
  const int tiles = work.token_tiles * work.row_tiles;
  const auto ctas = static_cast<unsigned>(kCtas * std::min(tiles, multiprocessors / kCtas));
  box_kernel<<<ctas, kThreads, kSharedBytes, stream>>>(boxes, work, epilogue);
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda::boxed
