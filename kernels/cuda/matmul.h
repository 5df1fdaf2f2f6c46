// y = W x for all formats: tensor cores straight from the weights' tiles for few rows, cuBLASLt for many.
// x may come in one plane or two (activations.h); for SwiGlu in one.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "kernels/cuda/activations.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/matmul_boxed.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

enum class Epilogue : uint8_t {
  Store,   // out[t][r]  = y[t][r]
  Add,     // out[t][r] += y[t][r]
  SwiGlu,  // out[t][i]  = silu(y[t][i]) * y[t][rows / 2 + i]; gate rows, then up rows
};

struct MatmulOut {
  float* data = nullptr;  // [T, stride] FP32
  int64_t stride = 0;
  // SwiGlu of the skinny kernels only: [T], the largest magnitude of each row is folded in with atomicMax on
  // its bits (zero it first).
  uint32_t* row_max = nullptr;
  // SwiGlu of the others, which know each row's scale beforehand (gated_scale): rows and scale, in place of
  // all above. Columns beyond the width are left alone.
  HalfRowsOut half{};
  // Store of LargeMatmul, of unscaled rows in two planes, the second behind the first: the second one's
  // sums, [T, stride] behind `data`, for the reader to add. One call of twice the tiles in place of two.
  float* low = nullptr;
};

// Which (token, expert) pairs an expert product computes, made on the device: pair p of expert e, p in
// [offsets[e], offsets[e + 1]), reads input row input_rows[p] and writes output row output_rows[p].
// Every pair has its own output row, so nothing is added up across experts here.
struct ExpertPairs {
  const int32_t* offsets = nullptr;      // [experts + 1]
  const int32_t* input_rows = nullptr;   // [P]
  const int32_t* output_rows = nullptr;  // [P]
  int32_t num_experts = 0;
  int32_t max_pairs = 0;  // P at most
};

// Products with at most this many rows are computed by the skinny kernels: one pass over the weights as they
// are.
inline constexpr int32_t kMaxSkinnyRows = 64;

// Skinny: T <= kMaxSkinnyRows tokens, sums in an order fixed by the matrix alone, so that a token's result
// does not depend on T. Any cols that are a multiple of 32; in.stride >= padded cols.
void matmul_skinny(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                   const MatmulOut& out, cudaStream_t stream);
// False for what only LargeMatmul computes: SwiGlu over gate and up rows of different formats, or of a number
// of rows that is no multiple of 16.
bool skinny_serves(const CudaMatrix& w, Epilogue epilogue);
// The same for the pairs of each expert; any number of pairs.
void matmul_experts(const CudaMatrix& w, const HalfRows& in, const ExpertPairs& pairs, Epilogue epilogue,
                    const MatmulOut& out, cudaStream_t stream);

// Many rows: weights as FP16 (block formats that keep no FP16 copy are expanded into scratch, a stretch of
// rows at a time), FP32 sums by cuBLASLt with a fixed workspace, or boxed products (matmul_boxed.h) where the
// device has them. SwiGlu wants in.norm and writes out.half. Owns scratch; one thread, one stream.
class LargeMatmul {
 public:
  static constexpr int32_t kLeastBoxedTokens = 33;  // their smallest tiles are 64 tokens
  // Bytes of device memory: for weights expanded to FP16, and for FP32 sums on their way to an epilogue (more
  // where a tile needs it, less where the widest output does).
  struct Scratch {
    size_t expanded = size_t{160} << 20, product = size_t{320} << 20;
  };
  // max_tokens: the most rows a call may have; least_boxed: the fewest that boxed products are used for.
  LargeMatmul(int32_t max_tokens, const Scratch& scratch, cudaStream_t stream,
              int32_t least_boxed = kLeastBoxedTokens);
  ~LargeMatmul();
  void reserve(int64_t max_rows);  // of matrices whose outputs are added or gated; start-up only
  void run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
           const MatmulOut& out);
  // What run() would add to rows, scaled, by scaled `in`: the sums for somebody else to add, until the next
  // call of any kind. Nothing where there is no room for all of them.
  std::optional<Addend> sums(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens);
  // All rows of w as boxed products of num_tokens read them, where they are or expanded into scratch: until
  // the next call of any kind. Nothing where num_tokens is below least_boxed or scratch doesn't hold them.
  std::optional<BoxedWeights> boxed_rows(const CudaMatrix& w, int32_t num_tokens);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend::cuda
