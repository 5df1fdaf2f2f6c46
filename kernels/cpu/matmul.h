// Matrix products by weights in any format: y = x W^T, the CPU backend's main work.
//
// Results: a token's result is the same bits whatever the number of tokens, their order, the thread count
// or the tiling. It does depend on the instruction set.
// Quantised weights: activations are rounded to 8 bits with one scale per 32 values and multiplied in
// integers. F32, F16 and BF16 weights: FP32 activations, FP32 sums.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor.h"

namespace qwend::cpu {

// Weights repacked for the product. Immutable once packed, so any thread may read it. Movable.
class PackedMatrix {
 public:
  // One matrix from parts whose rows follow each other (q, k, v; gate, up): equal cols and experts, formats
  // may differ. Copies: the source bytes are not needed afterwards.
  // Throws std::runtime_error naming the tensor when parts don't fit together; std::bad_alloc.
  static PackedMatrix pack(std::span<const HostMatrix> parts, ThreadPool& pool);

  int64_t rows() const { return rows_; }  // of one expert, all parts together
  int64_t cols() const { return cols_; }
  int64_t experts() const { return experts_; }
  size_t bytes() const;

  // dst[0..cols) = row `row` of expert `expert` in FP32: the embedding lookup.
  void dequantize_row(int64_t row, float* dst, int64_t expert = 0) const;

 private:
  friend class Matmul;
  struct Part {
    DType dtype;
    int64_t rows;
    std::vector<std::byte> data;
  };
  PackedMatrix() = default;
  int64_t rows_ = 0, cols_ = 0, experts_ = 1;
  std::vector<Part> parts_;
};

// Token rows to multiply: row i starts at data + (index ? index[i] : i) * stride.
struct InputRows {
  const float* data = nullptr;
  int64_t stride = 0;  // floats between rows, >= cols
  int32_t count = 0;
  const int32_t* index = nullptr;  // [count] or none
};

// Where results go, addressed in the same way. No two rows may be the same.
struct OutputRows {
  float* data = nullptr;
  int64_t stride = 0;  // floats between rows, >= the result's width
  const int32_t* index = nullptr;
};

enum class Epilogue : uint8_t {
  Store,      // y = x W^T                               [count, rows]
  Add,        // y += x W^T                              [count, rows]
  AddScaled,  // y += row_scale[i] * x W^T            [count, rows]
  SwiGlu,     // y = silu(x G^T) * (x U^T)               [count, rows / 2]; parts: G then U, equal rows
};

// Runs products on a pool, and keeps their scratch. One thread at a time.
class Matmul {
 public:
  // The pool must outlive it. isa: what best_isa() offers at most.
  explicit Matmul(ThreadPool& pool, Isa isa = best_isa());
  ~Matmul();

  // x: [count, w.cols()]. row_scale: [count], for AddScaled. Input and output must not overlap.
  void run(const PackedMatrix& w, const InputRows& x, const OutputRows& y, Epilogue epilogue,
           int64_t expert = 0, const float* row_scale = nullptr);

 private:
  ThreadPool& pool_;
  Isa isa_;
};

}  // namespace qwend::cpu
