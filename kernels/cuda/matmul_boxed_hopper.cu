// Boxed products of FP16 rows: gate and up.
#include "kernels/check.h"
#include "kernels/cuda/matmul_boxed.h"
#include "kernels/cuda/matmul_boxed_kernel.cuh"

namespace qwend::cuda {
namespace boxed {
namespace {

struct Call {
  const BoxedWeights &gate, &up;
  const HalfRows& in;
  int32_t num_tokens;
  const float* weight_norms;
  int64_t first;
  const HalfRowsOut& out;
  cudaStream_t stream;
};

template <class Shape>
void launch(const Call& c) {
  constexpr int kHalf = Shape::kTileRows / 2;
  const auto map_of = [](const BoxedWeights& w) {
    return tensor_map(w.rows, w.count, w.depth, w.stride, kHalf);
  };
  const Work work = work_of<Shape>(c.num_tokens, c.gate.count, kHalf, c.gate.depth);
  const CUtensorMap tokens =
      tensor_map(c.in.rows, c.num_tokens, c.gate.depth, c.in.stride, kBoxTokens<Shape>);
  const Boxes boxes{tokens, tokens, {map_of(c.gate), map_of(c.up)}, kHalf, {0, 0}, work.steps};
  launch_boxes<Shape>(boxes, work,
                      gated<Shape::kTileRows>(c.in, c.weight_norms, 1.0f, c.first, c.gate.count, c.out),
                      c.stream);
}

// One tile of tokens: pairs share it, and 128 rows keep more multiprocessors at reading weights. More: rounds
// of tiles at the cost of their rows, and of the tokens that L2 gives whatever their rows. (0.5B, 256 tokens:
// 76 CTAs with tiles of 256 rows, 104 with 192; prompts of 2,048: 256 rows are best.)
void launch_best(const Call& c) {
  using Few = Shape<128, 1, 2>;
  using Some = Shape<192, 2, 2>;
  using Many = PairShape<kRows>;
  if (c.num_tokens <= kTokens) return launch<Few>(c);
  constexpr int64_t kFixed = 128;  // of a tile, in rows
  const auto cost = [&]<class Shape>(Shape) {
    const Work work = work_of<Shape>(c.num_tokens, c.gate.count, Shape::kTileRows / 2, c.gate.depth);
    const int64_t tiles = int64_t{work.token_tiles} * work.row_tiles, at_once = clusters_at_once<Shape>();
    return (tiles + at_once - 1) / at_once * (Shape::kTileRows + kFixed);
  };
  cost(Some{}) < cost(Many{}) ? launch<Some>(c) : launch<Many>(c);
}

}  // namespace
}  // namespace boxed

bool has_boxed_products() { return has_warpgroup_products(); }

void boxed_gated(const BoxedWeights& gate, const BoxedWeights& up, const HalfRows& in, int32_t num_tokens,
                 const float* weight_norms, int64_t first, const HalfRowsOut& out, cudaStream_t stream) {
  CHECK(gate.count == up.count && gate.depth == up.depth && gate.count % 8 == 0);
  boxed::launch_best({gate, up, in, num_tokens, weight_norms, first, out, stream});
}

}  // namespace qwend::cuda
