// Queries, keys and values of dozens of tokens and more in one kernel, on compute capability 9.0: the product
// with all that finish_qkv() does to its sums (attention.h), which never pass through memory.
#pragma once
#include "kernels/cuda/attention.h"
#include "kernels/cuda/matmul_boxed.h"

namespace qwend::cuda {

// Whether the current device and these shapes are served: an FP16 cache, heads of 64 or 128, rotated as a
// whole.
bool boxed_qkv_serves(const QkvFinish& op, const KvLayer& kv);

// in: rows of the step's tokens, unscaled, in one plane or two; op.scale is what their sums are multiplied
// by. op.qkv is not read: nullptr. w: all rows of q, k and v. Outputs as finish_qkv() has them.
void boxed_qkv(const BoxedWeights& w, const HalfRows& in, const QkvFinish& op, const DeviceStep& step,
               const KvLayer& kv, float* q, cudaStream_t stream);

}  // namespace qwend::cuda
