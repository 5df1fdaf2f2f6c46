// Read bandwidth and FP16 matrix products of a GPU.
#include <cublasLt.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <memory>

#include "kernels/cuda/error.h"
#include "kernels/cuda/resources.h"
#include "kernels/yardstick.h"

namespace qwend {
namespace cuda {
namespace {

constexpr int kThreads = 512, kUnroll = 8;

// Uniform in [-1, 1): the bits of splitmix64 (Steele, Lea, Flood 2014).
__device__ uint64_t scramble(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
__global__ void fill_random(__half* values, size_t count) {
  const size_t stride = size_t{gridDim.x} * blockDim.x;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride)
    values[i] = __float2half(static_cast<float>(scramble(i) >> 40) * 0x1p-23f - 1.0f);
}

// Each block walks over its own contiguous share, kUnroll 16-byte loads of a thread in flight. The sum is
// written where nobody looks, so that the loads stay.
__global__ void __launch_bounds__(kThreads)
    read_all(const uint4* __restrict__ data, size_t per_block, uint32_t* sink) {
  const uint4* share = data + size_t{blockIdx.x} * per_block;
  uint32_t sum = 0;
  for (size_t i = threadIdx.x; i < per_block; i += size_t{kThreads} * kUnroll) {
    uint4 v[kUnroll];
#pragma unroll
    for (int j = 0; j < kUnroll; ++j) v[j] = __ldcs(share + i + j * kThreads);
#pragma unroll
    for (int j = 0; j < kUnroll; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (sum == 0x5eed5eedu) sink[blockIdx.x] = sum;
}

// Shortest of several timed runs, in seconds; one more before them warms up.
template <class Work>
double best_seconds(int repetitions, cudaStream_t stream, Work&& work) {
  const Event start = make_event(true), end = make_event(true);
  float best = 1e30f;
  for (int i = 0; i <= repetitions; ++i) {
    CUDA_CHECK(cudaEventRecord(start.get(), stream));
    work();
    CUDA_CHECK(cudaEventRecord(end.get(), stream));
    CUDA_CHECK(cudaEventSynchronize(end.get()));
    float milliseconds = 0;
    CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.get(), end.get()));
    if (i > 0) best = std::min(best, milliseconds);
  }
  return best * 1e-3;
}

double read_bandwidth(int multiprocessors, cudaStream_t stream) {
  size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  const size_t blocks = size_t{4} * multiprocessors;
  const size_t wanted = std::min(size_t{4} << 30, free / 2) / sizeof(uint4);
  const size_t per_block = wanted / blocks / (kThreads * kUnroll) * (kThreads * kUnroll);
  const size_t count = per_block * blocks;
  const DeviceBuffer<uint4> data(count);
  const DeviceBuffer<uint32_t> sink(blocks);
  fill_random<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(reinterpret_cast<__half*>(data.data()),
                                                                      count * 8);
  CUDA_CHECK_LAUNCH();
  const double seconds = best_seconds(10, stream, [&] {
    read_all<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(data.data(), per_block, sink.data());
    CUDA_CHECK_LAUNCH();
  });
  return static_cast<double>(data.bytes()) / seconds;
}

struct LtDeleter {
  void operator()(cublasLtHandle_t h) const { cublasLtDestroy(h); }
  void operator()(cublasLtMatmulDesc_t d) const { cublasLtMatmulDescDestroy(d); }
  void operator()(cublasLtMatrixLayout_t l) const { cublasLtMatrixLayoutDestroy(l); }
  void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
};
template <class Handle>
using Lt = std::unique_ptr<std::remove_pointer_t<Handle>, LtDeleter>;

Lt<cublasLtMatrixLayout_t> square(int64_t n, cudaDataType type) {
  cublasLtMatrixLayout_t layout = nullptr;
  CUDA_CHECK(cublasLtMatrixLayoutCreate(&layout, type, n, n, n));
  return Lt<cublasLtMatrixLayout_t>(layout);
}

// C = A^T B with FP16 factors, FP32 sums and an FP16 result, as a row-major product of weights is.
double gemm_flops(int64_t n, cudaStream_t stream) {
  constexpr size_t kWorkspace = size_t{64} << 20;
  const size_t elements = static_cast<size_t>(n) * n;
  const DeviceBuffer<__half> a(elements), b(elements), c(elements);
  const DeviceBuffer<std::byte> workspace(kWorkspace);
  for (const auto* m : {&a, &b}) {
    fill_random<<<1024, kThreads, 0, stream>>>(m->data(), elements);
    CUDA_CHECK_LAUNCH();
  }
  cublasLtHandle_t raw_handle = nullptr;
  CUDA_CHECK(cublasLtCreate(&raw_handle));
  const Lt<cublasLtHandle_t> handle(raw_handle);
  cublasLtMatmulDesc_t raw_product = nullptr;
  CUDA_CHECK(cublasLtMatmulDescCreate(&raw_product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const Lt<cublasLtMatmulDesc_t> product(raw_product);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  CUDA_CHECK(cublasLtMatmulDescSetAttribute(product.get(), CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                            sizeof transposed));
  const auto layout = square(n, CUDA_R_16F);
  cublasLtMatmulPreference_t raw_preference = nullptr;
  CUDA_CHECK(cublasLtMatmulPreferenceCreate(&raw_preference));
  const Lt<cublasLtMatmulPreference_t> preference(raw_preference);
  CUDA_CHECK(cublasLtMatmulPreferenceSetAttribute(preference.get(), CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &kWorkspace, sizeof kWorkspace));
  // The library's first choice is not always its fastest: the best of what it proposes counts.
  constexpr int kProposals = 4;
  cublasLtMatmulHeuristicResult_t proposals[kProposals];
  int found = 0;
  CUDA_CHECK(cublasLtMatmulAlgoGetHeuristic(handle.get(), product.get(), layout.get(), layout.get(),
                                            layout.get(), layout.get(), preference.get(), kProposals,
                                            proposals, &found));
  if (found == 0) throw CudaError("cuBLASLt knows no FP16 product of this shape");
  double best = 1e30;
  const float one = 1.0f, zero = 0.0f;
  for (int i = 0; i < found; ++i) {
    best = std::min(
        best, best_seconds(5, stream, [&] {
          CUDA_CHECK(cublasLtMatmul(handle.get(), product.get(), &one, a.data(), layout.get(), b.data(),
                                    layout.get(), &zero, c.data(), layout.get(), c.data(), layout.get(),
                                    &proposals[i].algo, workspace.data(), kWorkspace, stream));
        }));
  }
  return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / best;
}

}  // namespace
}  // namespace cuda

Yardstick measure_cuda(int32_t device) {
  CUDA_CHECK(cudaSetDevice(device));
  int multiprocessors = 0;
  CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  const cuda::Stream stream = cuda::make_stream();
  constexpr int64_t n = 8192;
  return {cuda::read_bandwidth(multiprocessors, stream.get()), cuda::gemm_flops(n, stream.get()),
          "cuBLASLt FP16 8192 x 8192 x 8192"};
}

}  // namespace qwend
