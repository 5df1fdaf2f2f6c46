// The inner kernels of one instruction set, as a table of functions over panels (matmul_layout.h).
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_layout.h"
#include "kernels/tensor.h"

namespace qwend::cpu {

// 32 activations of a token rounded to 14 or 15 bits: x[i] = 2^k * q[i], q = 128 * high + low, |q| <= 16256.
// Two byte-sized planes for the byte dot products: 8 bits (errors of 0.5% of a value) moved log-probabilities
// of the reference models by up to 0.5, these by less than 1e-2.
//
// A power of two is multiplied by an integer addition to a float's bits, which leaves the multiply units to
// the dot products. So that it never shrinks a float (0 has no exponent to take from), sums run in units of
// kSumUnit = 2^-60: k >= -60, and smaller activations lose bits. Activations of 2^61 and more, and those that
// are not finite, make their sums NaN.
struct alignas(32) ActivationUnit {
  int8_t high[kUnit];
  int8_t low[kUnit];              // -64..63
  int32_t exponent;               // (k + 60) << 23, to be added to the bits of a float; or those of NaN
  int32_t negative_sum;           // -(q[0] + ... + q[31]), cancels the codes' zero point
  int32_t negative_half_sums[2];  // the same for each 16
  float scaled_sum;               // 2^(k + 60) * sum, multiplies minima
  float scaled_half_sums[2];
};
static_assert(sizeof(ActivationUnit) == 96);
inline constexpr float kSumUnit = 0x1p-60f;

// How a unit's scale follows from the bits of its largest magnitude: with e as that one's biased exponent,
// after the carry, k = e - 140.
struct UnitScale {
  static constexpr int32_t kNan = 0x7fc00000;
  static constexpr int32_t kCarry = 0x1ffff;  // carries mantissas above 16256 / 8192 into the exponent
  static constexpr int32_t kLeast = 80, kMost = 187;  // biased exponents of values that stay exact
};

inline constexpr size_t kNumDTypes = static_cast<size_t>(DType::IQ4_XS) + 1;
inline constexpr int kMaxBlockTokens = 6;
inline constexpr int kMaxFloatTokens = 12;

// Where a kernel's sums begin and end. Between they stay in registers: passes that cleared sums and handed
// them on cost 3% of a product of 64 tokens.
struct Sums {
  const float* from = nullptr;  // [token][32], of the columns before these; none: 0
  float* to = nullptr;          // token t's 32 sums: at to + t * stride, or added to what is there
  int64_t stride = kPanelRows;
  bool add = false;
};

// All kernels sum over the given columns in ascending order: the same operations on a (row, token) whatever
// else is computed beside it. Columns: a multiple of the format's block.
struct BlockKernels {
  using Product = void (*)(const std::byte* panel, int64_t cols, const ActivationUnit* x, const Sums& sums);
  Product one = nullptr;  // one token, unpacking in registers
  // Rewrites a piece of a panel as bytes and FP32 scales, for use with many tokens; null if it is so already.
  void (*expand)(const std::byte* panel, int64_t cols, std::byte* expanded) = nullptr;
  // [n]: for n tokens on the expanded panel. x: [unit][n].
  Product many[kMaxBlockTokens + 1] = {};
};
struct FloatKernels {
  // x: [column][n] for entry n.
  using Product = void (*)(const std::byte* panel, int64_t cols, const float* x, const Sums& sums);
  Product many[kMaxFloatTokens + 1] = {};
};

struct KernelSet {
  int block_tokens = 0;  // the most tokens of one BlockKernels call
  int float_tokens = 0;
  void (*quantize)(const float* x, int64_t cols, ActivationUnit* out, int64_t out_stride) = nullptr;
  void (*swiglu)(const float* gate, const float* up, float* out) = nullptr;  // kPanelRows of each
  BlockKernels block[kNumDTypes];                                            // by DType
  FloatKernels floats[kNumDTypes];
};

// Requires isa <= best_isa().
const KernelSet& kernel_set(Isa isa);

const KernelSet& scalar_kernels();
const KernelSet& avx2_kernels();
const KernelSet& avx512_kernels();

}  // namespace qwend::cpu
