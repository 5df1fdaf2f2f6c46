// Products of FP16 matrices with dozens of tokens and more on compute capability 9.0, with what follows them
// in the same kernel: their sums never pass through memory. (cuBLASLt has no such epilogues; gate and up of a
// prompt alone write and read back 150 to 310 MB of sums in 7B.)
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/activations.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

// Whether the current device runs these.
bool has_boxed_products();

// Rows of weights [count, depth], `stride` halves apart; columns from depth to the next multiple of 64 are
// zeros, here or in the tokens.
struct BoxedWeights {
  const __half* rows = nullptr;
  int64_t count = 0, depth = 0, stride = 0;
};

// Gate and up rows of equal count, a multiple of 8: out[t][first + i] = silu(g[t][i]) * u[t][i] /
// out.scale[t] as swiglu_rows() has it (matmul_large_epilogue.h); out.scale is written where first is 0. in:
// one plane, its scale and norm. Rows of out are 16-byte aligned, out.stride and first multiples of 8.
void boxed_gated(const BoxedWeights& gate, const BoxedWeights& up, const HalfRows& in, int32_t num_tokens,
                 const float* weight_norms, int64_t first, const HalfRowsOut& out, cudaStream_t stream);
// Whether all weights fit into the FP16 that boxed_gated_blocks() makes of them.
inline bool boxed_blocks_serve(const CudaMatrix& w) {
  return w.largest_row_norm() > 0.0f && w.largest_row_norm() < 2000.0f;
}
// The same of `count` rows of parts of one block format, from gate_row and up_row on, multiples of 16.
// Weights become FP16 on their way into shared memory.
void boxed_gated_blocks(const WeightPart& gate, int64_t gate_row, const WeightPart& up, int64_t up_row,
                        int64_t count, const HalfRows& in, int32_t num_tokens, const float* weight_norms,
                        int64_t first, const HalfRowsOut& out, cudaStream_t stream);

}  // namespace qwend::cuda
