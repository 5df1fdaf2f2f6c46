#include "kernels/cuda/error.h"
#include "kernels/cuda/matmul_large_epilogue.h"
#include "kernels/cuda/row_math.cuh"

namespace qwend::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVectors = 4;  // of four floats a thread: 64 bytes of each operand in flight

// Blocks (row, 4,096 of its columns). body(column) works on columns column .. column + 3.
template <class Body>
__device__ inline void each_vector(int64_t width, Body body) {
  const int64_t first = 4 * (int64_t{blockIdx.y} * kVectors * kThreads + threadIdx.x);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int64_t column = first + int64_t{4} * i * kThreads;
    if (column < width) body(column);
  }
}

__device__ inline float row_factor(const float* scale) { return scale != nullptr ? scale[blockIdx.x] : 1.0f; }

__global__ void __launch_bounds__(kThreads)
    scale_rows_kernel(FloatRows y, int64_t width, const float* scale, bool vectors) {
  const float factor = row_factor(scale);
  float* row = y.data + blockIdx.x * y.stride;
  each_vector(width, [&](int64_t column) {
    const float4 v = load4(row, column, width, vectors);
    store4(row, column, width, vectors, {v.x * factor, v.y * factor, v.z * factor, v.w * factor});
  });
}

__global__ void __launch_bounds__(kThreads)
    add_rows_kernel(FloatRows y, int64_t width, const float* scale, FloatRows out, bool vectors) {
  const float factor = row_factor(scale);
  const float* from = y.data + blockIdx.x * y.stride;
  float* to = out.data + blockIdx.x * out.stride;
  each_vector(width, [&](int64_t column) {
    const float4 v = load4(from, column, width, vectors), x = load4(to, column, width, vectors);
    store4(to, column, width, vectors,
           {fmaf(v.x, factor, x.x), fmaf(v.y, factor, x.y), fmaf(v.z, factor, x.z), fmaf(v.w, factor, x.w)});
  });
}

__global__ void __launch_bounds__(kThreads)
    swiglu_rows_kernel(FloatRows gate, const float* up, int64_t first, int64_t width, HalfRows in,
                       const float* weight_norms, HalfRowsOut out, bool vectors) {
  const float factor = row_factor(in.scale);
  const float scale = gated_scale(weight_norms, in.norm[blockIdx.x]);
  if (first == 0 && blockIdx.y == 0 && threadIdx.x == 0) out.scale[blockIdx.x] = scale;
  const float* gates = gate.data + blockIdx.x * gate.stride;
  const float* ups = up + blockIdx.x * gate.stride;
  __half* to = out.rows + blockIdx.x * out.stride + first;
  each_vector(width, [&](int64_t column) {
    const float4 g = load4(gates, column, width, vectors), u = load4(ups, column, width, vectors);
    const float4 h{silu(g.x * factor) * (u.x * factor), silu(g.y * factor) * (u.y * factor),
                   silu(g.z * factor) * (u.z * factor), silu(g.w * factor) * (u.w * factor)};
    store_half4(to, column, width, vectors, to_half4(h, 1.0f / scale));
  });
}

dim3 grid_for(int64_t width, int32_t num_tokens) {
  constexpr int64_t kColumns = int64_t{4} * kVectors * kThreads;
  return {static_cast<unsigned>(num_tokens), static_cast<unsigned>((width + kColumns - 1) / kColumns)};
}

bool vector_rows(const FloatRows& rows) { return cuda::vector_rows(rows.data, rows.stride); }

}  // namespace

void scale_rows(const FloatRows& y, int64_t width, int32_t num_tokens, const float* scale,
                cudaStream_t stream) {
  scale_rows_kernel<<<grid_for(width, num_tokens), kThreads, 0, stream>>>(y, width, scale, vector_rows(y));
  CUDA_CHECK_LAUNCH();
}

void add_rows(const FloatRows& y, int64_t width, int32_t num_tokens, const float* scale, const FloatRows& out,
              cudaStream_t stream) {
  const bool vectors = vector_rows(y) && vector_rows(out);
  add_rows_kernel<<<grid_for(width, num_tokens), kThreads, 0, stream>>>(y, width, scale, out, vectors);
  CUDA_CHECK_LAUNCH();
}

void swiglu_rows(const FloatRows& gate, const float* up, int64_t first, int64_t width, int32_t num_tokens,
                 const HalfRows& in, const float* weight_norms, const HalfRowsOut& out, cudaStream_t stream) {
  const bool vectors = vector_rows(gate) && cuda::vector_rows(up, gate.stride) &&
                       cuda::vector_rows(out.rows, out.stride) && first % 4 == 0;
  swiglu_rows_kernel<<<grid_for(width, num_tokens), kThreads, 0, stream>>>(gate, up, first, width, in,
                                                                           weight_norms, out, vectors);
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda
