// Matrix products by weights in any format: y = x W^T, the CPU backend's main work.
//
// Results: a token's result is the same bits whatever the number of tokens, their order, the thread count
// or the tiling. It does depend on the instruction set.
// Quantised weights: activations are rounded to 14 or 15 bits with one scale per 32 values and multiplied
// in integers. F32, F16 and BF16 weights: FP32 activations, FP32 sums.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/page_memory.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor.h"

namespace qwend::cpu {

struct KernelSet;

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
  size_t bytes() const { return memory_.size(); }

  // dst[0..cols) = row `row` of expert `expert` in FP32: the embedding lookup.
  void dequantize_row(int64_t row, float* dst, int64_t expert = 0) const;

  // A panel: up to 32 rows of one format, the unit of work (matmul_layout.h).
  struct Panel {
    DType dtype;
    const std::byte* data;
    int64_t first_row;  // of the matrix
    int rows;           // that exist, 1..32
  };
  bool has_block_parts() const { return has_block_parts_; }
  bool has_float_parts() const { return has_float_parts_; }
  int64_t panels() const { return panels_; }  // of one expert; each part starts a new panel
  Panel panel(int64_t index, int64_t expert) const;
  size_t mean_panel_bytes() const { return bytes() / static_cast<size_t>(panels_ * experts_); }

 private:
  struct Part {
    DType dtype;
    int64_t first_row, rows;
    int64_t first_panel, panels;  // of one expert
    size_t offset;                // of its panels in memory_, expert by expert
  };
  PackedMatrix() = default;
  template <class Format>
  void pack_part(const Part& part, const HostMatrix& source, ThreadPool& pool);
  const std::byte* panel_data(const Part& part, int64_t expert, int64_t panel_of_part) const;

  int64_t rows_ = 0, cols_ = 0, experts_ = 1, panels_ = 0;
  bool has_block_parts_ = false, has_float_parts_ = false;
  std::vector<Part> parts_;
  PageMemory memory_;
};

// Token rows to multiply: row i starts at data + (index ? index[i] : i) * stride.
struct InputRows {
  const float* data = nullptr;
  int64_t stride = 0;  // floats between rows, >= cols
  int32_t count = 0;
  const int32_t* index = nullptr;  // [count] or none
  // [cols] or none: the rows are RMS-normalised on their way into the product, without a pass of their own.
  const float* norm = nullptr;
  float eps = 0.0f;
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
  const KernelSet& kernels_;
  PageMemory units_, values_;        // activations of the current product, rounded and in FP32
  std::vector<FloatBuffer> rows_;    // a normalised row, one a worker
  std::vector<PageMemory> scratch_;  // one a worker
};

}  // namespace qwend::cpu
