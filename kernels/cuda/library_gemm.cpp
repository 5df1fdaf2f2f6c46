#include "kernels/cuda/library_gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <map>
#include <tuple>

#include "kernels/check.h"

namespace qwend::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;
// Algorithms are chosen for multiples of this many tokens; a new T then rarely asks the heuristics again.
constexpr int64_t kTokenBucket = 64;

uint32_t alignment_of(const void* p) {
  return 1u << std::min(8, std::countr_zero(reinterpret_cast<uintptr_t>(p) | 256u));
}

class LtHandle {
 public:
  LtHandle() { CUDA_CHECK(cublasLtCreate(&handle_)); }
  ~LtHandle() { cublasLtDestroy(handle_); }
  LtHandle(const LtHandle&) = delete;
  LtHandle& operator=(const LtHandle&) = delete;
  cublasLtHandle_t get() const { return handle_; }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

// The library's description of a product with `tokens` rows.
struct Problem {
  cublasLtMatmulDescOpaque_t matmul;
  cublasLtMatrixLayoutOpaque_t a, b, c;

  Problem(const Gemm& g, int64_t tokens) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    CUDA_CHECK(cublasLtMatmulDescInit(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CUDA_CHECK(cublasLtMatmulDescSetAttribute(&matmul, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                              sizeof(transposed)));
    const auto depth = static_cast<uint64_t>(g.depth), rows = static_cast<uint64_t>(g.rows);
    const auto columns = static_cast<uint64_t>(tokens);
    CUDA_CHECK(cublasLtMatrixLayoutInit(&a, CUDA_R_16F, depth, rows, g.a.stride));
    CUDA_CHECK(cublasLtMatrixLayoutInit(&b, CUDA_R_16F, depth, columns, g.b.stride));
    CUDA_CHECK(cublasLtMatrixLayoutInit(&c, g.c.type, rows, columns, g.c.stride));
    if (g.second_c == 0) return;
    const auto repeat = [](cublasLtMatrixLayoutOpaque_t& layout, int64_t offset) {
      const int32_t count = 2;
      CUDA_CHECK(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                  sizeof(count)));
      CUDA_CHECK(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                  &offset, sizeof(offset)));
    };
    repeat(a, g.second_a), repeat(b, g.second_b), repeat(c, g.second_c);
  }
};

}  // namespace

struct LibraryGemm::Impl {
  using AlgorithmKey = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, uint32_t, uint32_t,
                                  uint32_t, bool, int64_t, int64_t, int64_t, cudaDataType_t>;

  explicit Impl(cudaStream_t on) : stream(on), workspace(kWorkspaceBytes) {}
  cublasLtMatmulAlgo_t algorithm(const Gemm& g, int64_t tokens);
  void multiply(const Gemm& g);

  const cudaStream_t stream;
  LtHandle handle;
  DeviceBuffer<std::byte> workspace;
  std::map<AlgorithmKey, cublasLtMatmulAlgo_t> algorithms;
};

// Throws CudaError when the library has none.
cublasLtMatmulAlgo_t LibraryGemm::Impl::algorithm(const Gemm& g, int64_t tokens) {
  const uint32_t align_a = std::min(alignment_of(g.a.data), alignment_of(g.a.data + g.second_a)),
                 align_b = std::min(alignment_of(g.b.data), alignment_of(g.b.data + g.second_b)),
                 align_c = std::min(alignment_of(g.c.data), alignment_of(g.c.at(g.second_c)));
  const AlgorithmKey key{tokens,  g.rows,  g.depth,        g.a.stride, g.b.stride, g.c.stride, align_a,
                         align_b, align_c, g.beta != 0.0f, g.second_a, g.second_b, g.second_c, g.c.type};
  if (const auto known = algorithms.find(key); known != algorithms.end()) return known->second;
  cublasLtMatmulPreferenceOpaque_t preference;
  CUDA_CHECK(cublasLtMatmulPreferenceInit(&preference));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    CUDA_CHECK(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align_a);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align_b);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align_c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align_c);
  Problem problem(g, tokens);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  CUDA_CHECK(cublasLtMatmulAlgoGetHeuristic(handle.get(), &problem.matmul, &problem.a, &problem.b, &problem.c,
                                            &problem.c, &preference, 1, &best, &found));
  if (found == 0) throw CudaError("cuBLASLt has no algorithm for a product of this shape");
  CUDA_CHECK(best.state);
  return algorithms.emplace(key, best.algo).first->second;
}

void LibraryGemm::Impl::multiply(const Gemm& g) {
  Problem problem(g, g.num_tokens);
  const auto run_with = [&](const cublasLtMatmulAlgo_t& algo) {
    return cublasLtMatmul(handle.get(), &problem.matmul, &g.alpha, g.a.data, &problem.a, g.b.data, &problem.b,
                          &g.beta, g.c.data, &problem.c, g.c.data, &problem.c, &algo, workspace.data(),
                          workspace.bytes(), stream);
  };
  const cublasStatus_t status =
      run_with(algorithm(g, (g.num_tokens + kTokenBucket - 1) / kTokenBucket * kTokenBucket));
  if (status == CUBLAS_STATUS_SUCCESS) return;
  // An algorithm for the bucket that this number of tokens rules out.
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE) CUDA_CHECK(status);
  CUDA_CHECK(run_with(algorithm(g, g.num_tokens)));
}

LibraryGemm::LibraryGemm(cudaStream_t stream) : impl_(std::make_unique<Impl>(stream)) {}
LibraryGemm::~LibraryGemm() = default;
void LibraryGemm::multiply(const Gemm& g) { impl_->multiply(g); }

}  // namespace qwend::cuda
