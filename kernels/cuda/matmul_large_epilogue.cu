#include <type_traits>

#include "kernels/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_large_epilogue.h"
#include "kernels/cuda/row_math.cuh"

namespace qwend::cuda {
namespace {

// A block takes kRows rows and 1,024 of their columns: in rows of 896 columns, too, most threads have all of
// their vectors to load.
constexpr int kRows = 4, kRowThreads = 64;
constexpr int kVectors = 4;  // of four columns a thread
constexpr int64_t kColumns = int64_t{4} * kVectors * kRowThreads;

__device__ inline int64_t row_index() { return int64_t{blockIdx.x} * kRows + threadIdx.y; }

// Columns column .. column + 3 of a row. kWhole: rows begin at boundaries of four elements, and their width
// is a multiple of four.
template <bool kWhole>
__device__ inline float4 load(const float* row, int64_t column, int64_t width) {
  if constexpr (!kWhole) return load4(row, column, width, false);
  return *reinterpret_cast<const float4*>(row + column);
}
template <bool kWhole>
__device__ inline float4 load(const __half* row, int64_t column, int64_t) {
  static_assert(kWhole);
  return from_half4(*reinterpret_cast<const uint2*>(row + column), 1.0f);
}

// A thread's columns of some rows, all read before anything is written: 16 columns of each are in flight.
template <bool kWhole, int kOperands, class Element>
class Vectors {
 public:
  __device__ Vectors(const Element* const (&rows)[kOperands], int64_t width) : width_(width) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
#pragma unroll
      for (int j = 0; j < kOperands; ++j) {
        if (column(i) < width) values_[i][j] = load<kWhole>(rows[j], column(i), width);
      }
    }
  }
  // f(column, v): columns column .. column + 3 of each row.
  template <class F>
  __device__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      if (column(i) < width_) f(column(i), values_[i]);
    }
  }

 private:
  __device__ static int64_t column(int i) {
    return blockIdx.y * kColumns + 4 * (int64_t{i} * kRowThreads + threadIdx.x);
  }
  int64_t width_;
  float4 values_[kVectors][kOperands];
};

template <bool kWhole>
__device__ inline void store(float* row, int64_t column, int64_t width, const float4& v) {
  if constexpr (kWhole)
    __stcg(reinterpret_cast<float4*>(row + column), v);
  else
    store4(row, column, width, false, v);
}
template <bool kWhole>
__device__ inline void store(__half* row, int64_t column, int64_t width, const uint2& v) {
  if constexpr (kWhole)
    __stcg(reinterpret_cast<uint2*>(row + column), v);
  else
    store_half4(row, column, width, false, v);
}

__device__ inline float factor_of(const float* scale, int64_t row) {
  return scale != nullptr ? scale[row] : 1.0f;
}

template <bool kWhole>
__global__ void scale_rows_kernel(FloatRows y, int64_t width, int32_t num_tokens, const float* scale) {
  follow_stream();
  const int64_t row = row_index();
  if (row >= num_tokens) return;
  float* const to = y.data + row * y.stride;
  const Vectors<kWhole, 1, float> rows({to}, width);
  const float factor = factor_of(scale, row);
  rows.each([&](int64_t column, const float4(&v)[1]) {
    store<kWhole>(to, column, width, {v[0].x * factor, v[0].y * factor, v[0].z * factor, v[0].w * factor});
  });
}

template <bool kWhole>
__global__ void add_rows_kernel(FloatRows y, int64_t width, int32_t num_tokens, const float* scale,
                                FloatRows out) {
  follow_stream();
  const int64_t row = row_index();
  if (row >= num_tokens) return;
  float* const to = out.data + row * out.stride;
  const Vectors<kWhole, 2, float> rows({y.data + row * y.stride, to}, width);
  const float factor = factor_of(scale, row);
  rows.each([&](int64_t column, const float4(&v)[2]) {
    store<kWhole>(to, column, width,
                  {fmaf(v[0].x, factor, v[1].x), fmaf(v[0].y, factor, v[1].y), fmaf(v[0].z, factor, v[1].z),
                   fmaf(v[0].w, factor, v[1].w)});
  });
}

template <bool kWhole, class Element>
__global__ void swiglu_rows_kernel(GatedSums<Element> sums, int64_t first, int64_t width, int32_t num_tokens,
                                   HalfRows in, const float* weight_norms, HalfRowsOut out) {
  follow_stream();
  const int64_t row = row_index();
  if (row >= num_tokens) return;
  const Vectors<kWhole, 2, Element> rows({sums.gate + row * sums.stride, sums.up + row * sums.stride}, width);
  const float factor = factor_of(in.scale, row) * sums.factor;
  const float scale = gated_scale(weight_norms, in.norm[row]);
  if (first == 0 && blockIdx.y == 0 && threadIdx.x == 0) out.scale[row] = scale;
  const float inverse = 1.0f / scale;
  __half* const to = out.rows + row * out.stride + first;
  rows.each([&](int64_t column, const float4(&v)[2]) {
    const float4 &g = v[0], &u = v[1];
    const float4 h{silu(g.x * factor) * (u.x * factor), silu(g.y * factor) * (u.y * factor),
                   silu(g.z * factor) * (u.z * factor), silu(g.w * factor) * (u.w * factor)};
    store<kWhole>(to, column, width, to_half4(h, inverse));
  });
}

constexpr dim3 kBlock{kRowThreads, kRows};
dim3 grid_for(int64_t width, int32_t num_tokens) {
  return {static_cast<unsigned>(ceil_div(num_tokens, kRows)),
          static_cast<unsigned>(ceil_div(width, kColumns))};
}

bool vector_rows(const FloatRows& rows) { return cuda::vector_rows(rows.data, rows.stride); }

}  // namespace

void scale_rows(const FloatRows& y, int64_t width, int32_t num_tokens, const float* scale,
                cudaStream_t stream) {
  const bool whole = width % 4 == 0 && vector_rows(y);
  const auto kernel = whole ? scale_rows_kernel<true> : scale_rows_kernel<false>;
  launch_following(kernel, grid_for(width, num_tokens), kBlock, 0, stream, y, width, num_tokens, scale);
}

void add_rows(const FloatRows& y, int64_t width, int32_t num_tokens, const float* scale, const FloatRows& out,
              cudaStream_t stream) {
  const bool whole = width % 4 == 0 && vector_rows(y) && vector_rows(out);
  const auto kernel = whole ? add_rows_kernel<true> : add_rows_kernel<false>;
  launch_following(kernel, grid_for(width, num_tokens), kBlock, 0, stream, y, width, num_tokens, scale, out);
}

template <class Element>
void swiglu_rows(const GatedSums<Element>& sums, int64_t first, int64_t width, int32_t num_tokens,
                 const HalfRows& in, const float* weight_norms, const HalfRowsOut& out, cudaStream_t stream) {
  const bool whole = width % 4 == 0 && first % 4 == 0 && cuda::vector_rows(sums.gate, sums.stride) &&
                     cuda::vector_rows(sums.up, sums.stride) && cuda::vector_rows(out.rows, out.stride);
  auto kernel = swiglu_rows_kernel<true, Element>;
  if constexpr (std::is_same_v<Element, float>) {
    if (!whole) kernel = swiglu_rows_kernel<false, Element>;
  } else {
    CHECK(whole);
  }
  launch_following(kernel, grid_for(width, num_tokens), kBlock, 0, stream, sums, first, width, num_tokens, in,
                   weight_norms, out);
}
template void swiglu_rows(const GatedSums<float>&, int64_t, int64_t, int32_t, const HalfRows&, const float*,
                          const HalfRowsOut&, cudaStream_t);
template void swiglu_rows(const GatedSums<__half>&, int64_t, int64_t, int32_t, const HalfRows&, const float*,
                          const HalfRowsOut&, cudaStream_t);

}  // namespace qwend::cuda
