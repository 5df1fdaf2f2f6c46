#include "kernels/check.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_math.cuh"

namespace qwend::cuda {
namespace {

unsigned blocks_for(int64_t count, int64_t each) { return static_cast<unsigned>((count + each - 1) / each); }

__global__ void resolve_tokens_kernel(const int32_t* tokens, const int32_t* token_rows, const int32_t* drawn,
                                      int32_t count, int32_t* ids) {
  follow_stream();
  const int32_t t = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (t >= count) return;
  const int32_t row = token_rows[t];
  ids[t] = row >= 0 ? drawn[row] : tokens[t];
}

// Columns column .. column + 3 of a row, zeros beyond its width. kWhole: rows begin at boundaries of 16
// bytes, and their width is a multiple of four.
template <bool kWhole>
__device__ float4 load_part(const float* row, int64_t column, int64_t width) {
  if constexpr (!kWhole) return load4(row, column, width, false);
  return column < width ? *reinterpret_cast<const float4*>(row + column) : float4{};
}

// kThreads threads a row, the row in registers: read once. Narrow rows take a warp each, kRows of them a
// block, and wait for nobody. The order of the sum depends on the stride alone.
template <int kThreads, int kVectors, int kRows, bool kWhole>
__global__ void __launch_bounds__(kThreads* kRows)
    rms_norm_kernel(float* x, int64_t width, const int32_t* index, int32_t num_rows, const float* weight,
                    float eps, HalfRowsOut out, Addend addend) {
  static_assert(kRows == 1 || kThreads == kWarp);
  __shared__ float partial_sums[kThreads / 32], partial_norms[kThreads / 32];
  __shared__ uint32_t partial_maxima[kThreads / 32];
  follow_stream();
  const int64_t row = int64_t{blockIdx.x} * kRows + threadIdx.y;
  if (row >= num_rows) return;  // a whole warp: with one row a block there are none
  float* const source = x + (index != nullptr ? index[row] : row) * width;
  const auto column = [&](int i) { return int64_t{4} * (i * kThreads + static_cast<int>(threadIdx.x)); };

  float4 v[kVectors], w[kVectors];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) v[i] = load_part<kWhole>(source, column(i), width);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) w[i] = load_part<kWhole>(weight, column(i), width);
  if (addend.data != nullptr) {
    const float by = addend.scale[row];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const float4 sum = load_part<kWhole>(addend.data + row * addend.stride, column(i), width);
      v[i] = {fmaf(sum.x, by, v[i].x), fmaf(sum.y, by, v[i].y), fmaf(sum.z, by, v[i].z),
              fmaf(sum.w, by, v[i].w)};
      if (column(i) < width) *reinterpret_cast<float4*>(source + column(i)) = v[i];
    }
  }
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    squares += v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z + v[i].w * v[i].w;
  }
  const float mean = block_sum<kThreads>(squares, partial_sums) / static_cast<float>(width);
  const float factor = 1.0f / sqrtf(mean + eps);

  uint32_t largest = 0;
  squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    v[i] = {v[i].x * factor * w[i].x, v[i].y * factor * w[i].y, v[i].z * factor * w[i].z,
            v[i].w * factor * w[i].w};
    largest = max(largest, magnitude_bits(v[i]));
    squares += v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z + v[i].w * v[i].w;
  }
  if (out.norm != nullptr) {
    const float norm = sqrtf(block_sum<kThreads>(squares, partial_norms));
    if (threadIdx.x == 0) out.norm[row] = norm;
  }
  float scale = 1.0f;
  if (out.scale != nullptr) {
    scale = row_scale(__uint_as_float(block_max<kThreads>(largest, partial_maxima)));
    if (threadIdx.x == 0) out.scale[row] = scale;
  }
  const float inverse = 1.0f / scale;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (column(i) >= out.stride) continue;
    const int64_t at = row * out.stride + column(i);
    const uint2 high = to_half4(v[i], inverse);
    *reinterpret_cast<uint2*>(out.rows + at) = high;
    if (out.low != nullptr) {
      *reinterpret_cast<uint2*>(out.low + at) = rest_half4(v[i], inverse, high);
    }
  }
}

// Threads and vectors of 4 a thread follow from the width alone, never from the number of rows.
template <int kThreads, int kVectors, int kRows = 1>
void launch_rms_norm(float* x, int64_t width, const int32_t* index, int32_t num_rows, const float* weight,
                     float eps, const HalfRowsOut& out, const Addend& addend, cudaStream_t stream) {
  const auto kernel = vector_rows(x, width) && vector_rows(weight, 0)
                          ? rms_norm_kernel<kThreads, kVectors, kRows, true>
                          : rms_norm_kernel<kThreads, kVectors, kRows, false>;
  launch_following(kernel, blocks_for(num_rows, kRows), dim3(kThreads, kRows), 0, stream, x, width, index,
                   num_rows, weight, eps, out, addend);
}

constexpr int kRoundThreads = 256;

// Blocks (row, part of its columns). Without row_max each block reads the whole row first: one block a row.
__global__ void __launch_bounds__(kRoundThreads)
    round_rows_kernel(const float* x, int64_t width, const uint32_t* row_max, bool vectors, HalfRowsOut out) {
  __shared__ uint32_t partial_maxima[kRoundThreads / 32];
  follow_stream();
  const int64_t row = blockIdx.x;
  const float* source = x + row * width;
  float scale = 1.0f;
  if (out.scale != nullptr) {
    uint32_t largest = 0;
    if (row_max != nullptr) {
      largest = row_max[row];
    } else {
      for (int64_t column = 4 * threadIdx.x; column < width; column += 4 * kRoundThreads) {
        largest = max(largest, magnitude_bits(load4(source, column, width, vectors)));
      }
      largest = block_max<kRoundThreads>(largest, partial_maxima);
    }
    scale = row_scale(__uint_as_float(largest));
    if (threadIdx.x == 0 && blockIdx.y == 0) out.scale[row] = scale;
  }
  const int64_t step = int64_t{8} * kRoundThreads * gridDim.y;
  for (int64_t column = 8 * (int64_t{blockIdx.y} * kRoundThreads + threadIdx.x); column < out.stride;
       column += step) {
    const float4 first = load4(source, column, width, vectors);
    const float4 second = load4(source, column + 4, width, vectors);
    const int64_t at = row * out.stride + column;
    const uint2 a = to_half4(first, 1.0f / scale), b = to_half4(second, 1.0f / scale);
    *reinterpret_cast<uint4*>(out.rows + at) = {a.x, a.y, b.x, b.y};
    if (out.low != nullptr) {
      const uint2 c = rest_half4(first, 1.0f / scale, a), d = rest_half4(second, 1.0f / scale, b);
      *reinterpret_cast<uint4*>(out.low + at) = {c.x, c.y, d.x, d.y};
    }
  }
}

__global__ void widen_rows_kernel(HalfRows in, int64_t width, bool vectors, float* dst) {
  const int64_t row = blockIdx.x;
  const int64_t column = 4 * (int64_t{blockIdx.y} * blockDim.x + threadIdx.x);
  if (column >= width) return;
  const float scale = in.scale != nullptr ? in.scale[row] : 1.0f;
  const float4 v = load4(in, row, column);
  store4(dst + row * width, column, width, vectors, {v.x * scale, v.y * scale, v.z * scale, v.w * scale});
}

}  // namespace

void resolve_tokens(const DeviceStep& step, const int32_t* drawn, int32_t* ids, cudaStream_t stream) {
  if (step.num_tokens == 0) return;
  launch_following(resolve_tokens_kernel, blocks_for(step.num_tokens, 256), 256, 0, stream, step.tokens,
                   step.token_rows, drawn, step.num_tokens, ids);
}

void rms_norm(float* x, int64_t width, const int32_t* index, int32_t num_rows, const float* weight, float eps,
              const HalfRowsOut& out, cudaStream_t stream, const Addend& addend) {
  CHECK(width > 0 && out.stride >= width && out.stride % 64 == 0);
  CHECK(out.stride <= kMaxNormWidth);
  CHECK(addend.data == nullptr || (index == nullptr && width % 4 == 0 && vector_rows(x, width) &&
                                   vector_rows(addend.data, addend.stride)));
  if (num_rows == 0) return;
  const auto launch = out.stride <= 512    ? launch_rms_norm<kWarp, 4, 4>
                      : out.stride <= 1024 ? launch_rms_norm<kWarp, 8, 4>
                      : out.stride <= 2048 ? launch_rms_norm<256, 2>
                      : out.stride <= 4096 ? launch_rms_norm<512, 2>
                      : out.stride <= 8192 ? launch_rms_norm<1024, 2>
                                           : launch_rms_norm<1024, 4>;
  launch(x, width, index, num_rows, weight, eps, out, addend, stream);
}

void round_rows(const float* x, int64_t width, int32_t num_rows, const uint32_t* row_max,
                const HalfRowsOut& out, cudaStream_t stream) {
  CHECK(width > 0 && out.stride >= width && out.stride % 64 == 0);
  if (num_rows == 0) return;
  const bool one_pass = row_max != nullptr || out.scale == nullptr;
  const dim3 grid(static_cast<unsigned>(num_rows), one_pass ? blocks_for(out.stride, 8 * kRoundThreads) : 1);
  launch_following(round_rows_kernel, grid, kRoundThreads, 0, stream, x, width, row_max,
                   vector_rows(x, width), out);
}

void widen_rows(const HalfRows& in, int64_t width, int32_t num_rows, float* dst, cudaStream_t stream) {
  CHECK(width > 0 && in.stride >= width);
  if (num_rows == 0) return;
  const dim3 grid(static_cast<unsigned>(num_rows), blocks_for(width, 4 * 256));
  widen_rows_kernel<<<grid, 256, 0, stream>>>(in, width, vector_rows(dst, width), dst);
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda
