// Mixture of experts: routing and the sum over experts. The experts' products are matmul.h's.
#pragma once
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/resources.h"

namespace qwend::cuda {

// Scratch for routing T tokens to num_used experts each; P = T * num_used pairs.
struct MoeBuffers {
  DeviceBuffer<float> router;         // [T, E] logits
  DeviceBuffer<int32_t> expert;       // [P] chosen expert of pair t * num_used + j, j by descending weight
  DeviceBuffer<float> weight;         // [P]
  DeviceBuffer<int32_t> offsets;      // [E + 1]
  DeviceBuffer<int32_t> input_rows;   // [P] by expert, then by token
  DeviceBuffer<int32_t> output_rows;  // [P] t * num_used + j of that pair
  DeviceBuffer<float> gate_up;        // [P, Fe] SwiGLU outputs, by expert
  DeviceBuffer<uint32_t> row_max;     // [P]
  DeviceBuffer<__half> half;          // [P, padded Fe]
  DeviceBuffer<float> half_scale;     // [P]
  DeviceBuffer<float> down;           // [P, D] by pair t * num_used + j
  DeviceBuffer<float> shared_weight;  // [T]
  void reserve(int32_t max_tokens, const MoeShape& shape, int64_t width, int64_t shared_ffn);
};

// Softmax over all experts in FP32, num_used largest (lowest index on a tie), weights renormalised where the
// shape says so; then the pairs grouped by expert, tokens ascending: deterministic, no atomics whose order
// matters.
void route_tokens(const MoeShape& shape, int32_t num_tokens, MoeBuffers& buffers, cudaStream_t stream);
// x[t] += sum over the token's experts in ascending expert order of weight * down
void combine_experts(const MoeShape& shape, int32_t num_tokens, int64_t width, const MoeBuffers& buffers,
                     float* x, cudaStream_t stream);
// weight[t] = sigmoid(g . in[t]), or 1 without a gate;  x[t] += weight[t] * y[t]
void shared_expert_gate(const float* gate, const HalfRows& in, int64_t width, int32_t num_tokens,
                        float* weight, cudaStream_t stream);
void add_scaled_rows(const float* y, const float* weight, int64_t width, int32_t num_tokens, float* x,
                     cudaStream_t stream);

}  // namespace qwend::cuda
