// Boxed products of FP16 rows: gate and up.
#include "kernels/check.h"
#include "kernels/cuda/matmul_boxed.h"
#include "kernels/cuda/matmul_boxed_pairs.cuh"

namespace qwend::cuda {

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
  const auto map_of = [](const BoxedWeights& w) {
    return tensor_map(w.rows, w.count, w.depth, w.stride, kHalfRows);
  };
  const Work work = work_of(num_tokens, kCtas * kTokens, gate.count, kHalfRows, gate.depth);
  const CUtensorMap tokens = tensor_map(in.rows, num_tokens, gate.depth, in.stride, kTokens);
  const Boxes boxes{tokens, tokens, {map_of(gate), map_of(up)}, kHalfRows, {0, 0}, work.steps};
  launch_pairs(boxes, work, gated(in, weight_norms, 1.0f, first, gate.count, out), stream);
}

}  // namespace qwend::cuda
