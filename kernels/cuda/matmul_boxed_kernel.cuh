// The kernel of boxed products of FP16 rows. CTAs work in clusters whose tiles share weight rows or tokens:
// each asks for its part of what is shared, for all, so that L2 gives a pair 32 KB a step of 64 columns and
// CTA in place of 48. Compiled for sm_90a alone.
#pragma once
#include <algorithm>

#include "kernels/cuda/error.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_boxed.cuh"
#include "kernels/cuda/tensor_map.h"

namespace qwend::cuda::boxed {

// What boxes are cut from: rows of tokens in one plane or two, and the weight rows of a CTA's tile, which
// come in two halves: rows_a_tile * tile + first[i] on of weights[i]. Planes that are not apart come one
// after the other (then steps of the work cover both), the low one first, as a small term added to a large
// sum is cut off.
struct Boxes {
  CUtensorMap first_plane, second_plane, weights[2];
  int32_t rows_a_tile, first[2];
  int32_t plane_steps;
};

// Rows of a box of tokens.
template <class Shape>
inline constexpr int kBoxTokens = kTokens / Shape::kRowCtas;

template <class Shape>
__device__ __forceinline__ void ask_for_boxes(const Ring<Shape>& ring, const Work& work, const Boxes& boxes,
                                              uint32_t rank) {
  constexpr int kHalf = Shape::kTileRows / 2;
  const uint32_t token_rank = Shape::token_rank(rank), row_rank = Shape::row_rank(rank);
  const uint32_t half = Shape::kTokenCtas == 1 ? 0 : token_rank;  // of the weights, where a CTA asks for one
  const CUtensorMap& weights = half == 0 ? boxes.weights[0] : boxes.weights[1];
  const int32_t first = half == 0 ? boxes.first[0] : boxes.first[1];
  prefetch_map(Shape::kPlanesApart && row_rank != 0 ? boxes.second_plane : boxes.first_plane);
  prefetch_map(weights);
  if constexpr (Shape::kTokenCtas == 1) prefetch_map(boxes.weights[1]);
  Place<Shape> at;
  const int32_t tiles = work.token_tiles * work.row_tiles, clusters = gridDim.x / Shape::kCtas;
#pragma unroll 1
  for (int32_t tile = blockIdx.x / Shape::kCtas; tile < tiles; tile += clusters) {
    const int32_t token = (tile % work.token_tiles * Shape::kTokenCtas + token_rank) * Shape::kTileTokens;
    const int32_t row_tile = tile / work.token_tiles * Shape::kRowCtas + row_rank;
    const int32_t row = row_tile * boxes.rows_a_tile + first;
#pragma unroll 1
    for (int32_t step = 0; step < work.steps; ++step, at.next()) {
      const bool second = Shape::kPlanesApart ? row_rank != 0 : step >= boxes.plane_steps;
      const int32_t col = (!Shape::kPlanesApart && second ? step - boxes.plane_steps : step) * kCols;
      const uint32_t filled = ring.filled(at.slot);
      barrier_wait(ring.read(at.slot), at.parity ^ 1);
      barrier_arrive_expecting(filled, 1, kTokenBytes + Shape::kTileRows * kCols * 2);
      const CUtensorMap& tokens = second ? boxes.second_plane : boxes.first_plane;
      if constexpr (Shape::kRowCtas == 1) {
        copy_box(ring.tokens(at.slot), tokens, token, col, filled);
      } else {
        constexpr int kPart = kBoxTokens<Shape>;
        const int32_t own = Shape::kPlanesApart ? token : token + static_cast<int32_t>(row_rank) * kPart;
        copy_box_to(ring.tokens(at.slot) + row_rank * kPart * kCols * 2, tokens, own, col, filled,
                    Shape::same_tokens(rank));
      }
      if constexpr (Shape::kTokenCtas == 1) {
        copy_box(ring.weights(at.slot), weights, row, col, filled);
        copy_box(ring.weights(at.slot) + kHalf * kCols * 2, boxes.weights[1],
                 row_tile * boxes.rows_a_tile + boxes.first[1], col, filled);
      } else {
        copy_box_to(ring.weights(at.slot) + half * kHalf * kCols * 2, weights, row, col, filled,
                    Shape::same_rows(rank));
      }
    }
  }
}

// epilogue.finish(sums, row, tile, num_tokens): the lane's sums [.][0] are of token `row`, rows_a_tile * tile
// on.
template <class Shape, class Epilogue>
__global__ void __cluster_dims__(Shape::kCtas) __launch_bounds__(kThreads, 1)
    box_kernel(const __grid_constant__ Boxes boxes, const __grid_constant__ Work work,
               const __grid_constant__ Epilogue epilogue) {
  extern __shared__ unsigned char shared[];
  const Ring<Shape> ring(shared);
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) ring.clear(1, Shape::kCtas * kGroups);
  cluster_sync();
  follow_stream();
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  if (group == kGroups) {
    give_registers<24>();
    if (threadIdx.x == kGroups * kGroupThreads) ask_for_boxes(ring, work, boxes, rank);
    __syncwarp();
  } else {
    take_registers<240>();
    multiply_tiles(ring, shared, group, work, rank, [&](const auto& sums, int32_t row, int32_t tile) {
      epilogue.finish(sums, row, tile, work.num_tokens);
    });
  }
  cluster_sync();  // a CTA that has left can't be written to
}

// How many clusters are launched at most, and how many of them surely work at a time: multiprocessors lie in
// groups that are no multiples of large clusters.
template <class Shape>
int32_t most_clusters() {
  return std::max(1, multiprocessor_count() / Shape::kCtas);
}
template <class Shape>
int32_t clusters_at_once() {
  return Shape::kCtas <= 2 ? most_clusters<Shape>() : std::max(1, most_clusters<Shape>() * 7 / 8);
}

template <class Shape, class Epilogue>
void launch_boxes(const Boxes& boxes, const Work& work, const Epilogue& epilogue, cudaStream_t stream) {
  static const int clusters = [] {
    CUDA_CHECK(cudaFuncSetAttribute(box_kernel<Shape, Epilogue>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    Shape::kSharedBytes));
    return most_clusters<Shape>();
  }();
  const auto ctas =
      static_cast<unsigned>(Shape::kCtas * std::min(work.token_tiles * work.row_tiles, clusters));
  launch_following(box_kernel<Shape, Epilogue>, ctas, kThreads, Shape::kSharedBytes, stream, boxes, work,
                   epilogue);
}

}  // namespace qwend::cuda::boxed
