// The kernels, written once over a vector type: each of matmul_scalar.cpp, matmul_avx2.cpp and
// matmul_avx512.cpp defines `Simd` in an anonymous namespace and then includes this file.
//
// Everything here is in an anonymous namespace, and calls no inline function of another header: code
// compiled for AVX-512 must never be the copy that the linker picks for the rest of the program.
//
// Simd: kWidth lanes of 32 bits (Int, Float), kBlockTokens, kFloatTokens, and the operations used below.
// dot4(acc, codes, x): each lane adds the four products of unsigned code bytes by signed bytes.
// zero_point(negative_sum): what to add to the sums for the codes' zero point; high_zero_point: the same in
// units of 128. One of them is 0.
#pragma once
#include "kernels/cpu/activation_kernels_impl.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/unpack_kernels_impl.h"

namespace qwend::cpu {
namespace {

// How far ahead packed weights are fetched: further with many tokens, of which the first group alone waits
// for them (64 tokens: 2% of a step); not as far with one, for which what lies past a worker's piece is lost.
constexpr int prefetch_bytes(int tokens) { return tokens == 1 ? 2048 : 4096; }

// ---- one unit of 32 columns

// dots += codes by a plane of activation bytes, one step of kTokens tokens.
template <int kZero, int kTokens>
QWEND_INLINE void add_step(const Int (&codes)[kLaneGroups], const ActivationUnit* x,
                           int8_t (ActivationUnit::*plane)[kUnit], int step,
                           Int (&dots)[kLaneGroups][kTokens]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const Int q = Simd::broadcast4(x[t].*plane + 4 * step);
#pragma GCC unroll 2
    for (int r = 0; r < kLaneGroups; ++r) dots[r][t] = Simd::template dot4<kZero>(dots[r][t], codes[r], q);
  }
}

template <int kTokens>
QWEND_INLINE void clear(Int (&dots)[kLaneGroups][kTokens]) {
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kLaneGroups; ++r) dots[r][t] = Simd::set1(0);
  }
}

// dots = the zero point's share in the high plane: a zero point of 128 is 1 there, and so costs no operation.
template <int kGroup, int kZero, int kTokens>
QWEND_INLINE void start_high(const ActivationUnit* x, int group, Int (&dots)[kLaneGroups][kTokens]) {
  for (int t = 0; t < kTokens; ++t) {
    const Int offset = Simd::template high_zero_point<kZero>(
        kGroup == kUnit ? &x[t].negative_sum : &x[t].negative_half_sums[group]);
    for (int r = 0; r < kLaneGroups; ++r) dots[r][t] = offset;
  }
}

// dots = dots * 128 - the zero point's share, unless the high plane has it.
template <int kGroup, int kZero, int kTokens>
QWEND_INLINE void shift_and_offset(const ActivationUnit* x, int group, Int (&dots)[kLaneGroups][kTokens]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const Int offset = Simd::template zero_point<kZero>(kGroup == kUnit ? &x[t].negative_sum
                                                                        : &x[t].negative_half_sums[group]);
#pragma GCC unroll 2
    for (int r = 0; r < kLaneGroups; ++r) {
      dots[r][t] = Simd::add(Simd::template shift_left<7>(dots[r][t]), offset);
    }
  }
}

template <int... kStep>
struct Steps {};

// The integer products of a group's steps; load_codes.template operator()<kStep>(codes) gives a step's codes.
// Exact, so both orders give the same result. With few tokens the planes share one unpacking of the codes;
// with many, one set of accumulators serves the planes in turn, so that the registers suffice.
template <int kGroup, int kZero, int kTokens, int... kStep, class LoadCodes>
QWEND_INLINE void group_dots(Steps<kStep...>, const LoadCodes& load_codes, const ActivationUnit* x, int group,
                             Int (&dots)[kLaneGroups][kTokens]) {
  constexpr auto kHigh = &ActivationUnit::high, kLow = &ActivationUnit::low;
  Int codes[kLaneGroups];
  start_high<kGroup, kZero>(x, group, dots);
  if constexpr (kTokens <= 2) {
    Int low_dots[kLaneGroups][kTokens];
    clear(low_dots);
    ((load_codes.template operator()<kStep>(codes), add_step<kZero>(codes, x, kHigh, kStep, dots),
      add_step<kZero>(codes, x, kLow, kStep, low_dots)),
     ...);
    shift_and_offset<kGroup, kZero>(x, group, dots);
    for (int t = 0; t < kTokens; ++t) {
      for (int r = 0; r < kLaneGroups; ++r) dots[r][t] = Simd::add(dots[r][t], low_dots[r][t]);
    }
  } else {
    ((load_codes.template operator()<kStep>(codes), add_step<kZero>(codes, x, kHigh, kStep, dots)), ...);
    shift_and_offset<kGroup, kZero>(x, group, dots);
    // The compiler must load the codes again: where it keeps those of all steps in registers it has none left
    // for the sums, and moves these to and from the stack for each unit (4% of a step of 64 tokens).
    asm volatile("" ::: "memory");
    ((load_codes.template operator()<kStep>(codes), add_step<kZero>(codes, x, kLow, kStep, dots)), ...);
  }
}

// sums += scale * 2^k * dots - minimum * (2^k * sum of q), in units of kSumUnit.
template <int kGroup, bool kHasMin, int kTokens>
QWEND_INLINE void finish_group(const Float* scale, const Float* minimum, const ActivationUnit* x, int group,
                               const Int (&dots)[kLaneGroups][kTokens], Float (&sums)[kLaneGroups][kTokens]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const Int exponent = Simd::set1(x[t].exponent);
#pragma GCC unroll 2
    for (int r = 0; r < kLaneGroups; ++r) {
      sums[r][t] =
          Simd::fma(Simd::shift_exponent(Simd::to_float(dots[r][t]), exponent), scale[r], sums[r][t]);
    }
    if constexpr (kHasMin) {
      const Float sum = Simd::broadcast(kGroup == kUnit ? &x[t].scaled_sum : &x[t].scaled_half_sums[group]);
#pragma GCC unroll 2
      for (int r = 0; r < kLaneGroups; ++r) sums[r][t] = Simd::fnma(minimum[r], sum, sums[r][t]);
    }
  }
}

// The sums of the pass over rows `row` .. to begin with; kScaled: in units of kSumUnit.
template <bool kScaled, int kTokens>
QWEND_INLINE void begin_sums(const Sums& where, int row, Float (&sums)[kLaneGroups][kTokens]) {
  constexpr float kPerUnit = 1.0f / kSumUnit;
  const Float per_unit = Simd::broadcast(&kPerUnit);
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kLaneGroups; ++r) {
      sums[r][t] = where.from == nullptr ? Simd::to_float(Simd::set1(0))
                                         : Simd::load_float(where.from + t * kPanelRows + row + r * kWidth);
      if constexpr (kScaled) sums[r][t] = Simd::mul(sums[r][t], per_unit);
    }
  }
}
template <bool kScaled, int kTokens>
QWEND_INLINE void end_sums(const Float (&sums)[kLaneGroups][kTokens], int row, const Sums& where) {
  const Float unit = Simd::broadcast(&kSumUnit);
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kLaneGroups; ++r) {
      float* to = where.to + t * where.stride + row + r * kWidth;
      Float sum = sums[r][t];
      if constexpr (kScaled) sum = Simd::mul(sum, unit);
      Simd::store_float(to, where.add ? Simd::add(Simd::load_float(to), sum) : sum);
    }
  }
}

using FirstHalf = Steps<0, 1, 2, 3>;
using SecondHalf = Steps<4, 5, 6, 7>;
using AllSteps = Steps<0, 1, 2, 3, 4, 5, 6, 7>;

// Packed weights by kTokens tokens, codes unpacked in registers.
template <class F, int kTokens>
void product_packed(const std::byte* panel, int64_t cols, const ActivationUnit* x, const Sums& where) {
  using L = ChunkLayout<F>;
  for (int pass = 0; pass < kPasses; ++pass) {
    const int row = pass * kPassRows;
    Float sums[kLaneGroups][kTokens];
    begin_sums<true>(where, row, sums);
    const std::byte* chunk = panel;
    const ActivationUnit* unit_x = x;
    for (int64_t c = 0; c < cols; c += F::kBlock, chunk += L::kBytes) {
      ChunkScales<F> scales;
      scales.load(chunk, row);
      const std::byte* unit = chunk + L::kCodes;
      for (int u = 0; u < L::kUnits; ++u, unit_x += kTokens, unit += CodeLayout<F>::kUnitBytes) {
        for (int line = 0; line < CodeLayout<F>::kUnitBytes; line += 64) {
          __builtin_prefetch(unit + prefetch_bytes(kTokens) + line);
        }
        auto load_codes = [&]<int kStep>(Int(&codes)[kLaneGroups]) QWEND_LAMBDA {
          for (int r = 0; r < kLaneGroups; ++r)
            codes[r] = step_codes<F, kStep>(unit + 4 * (row + r * kWidth));
        };
        auto add_group = [&](auto steps, int group) QWEND_LAMBDA {
          Int dots[kLaneGroups][kTokens];
          group_dots<F::kGroup, F::kZero>(steps, load_codes, unit_x, group, dots);
          const int g = u * (kUnit / F::kGroup) + group;
          finish_group<F::kGroup, F::kHasMin>(scales.scale[g], scales.minimum[F::kHasMin ? g : 0], unit_x,
                                              group, dots, sums);
        };
        if constexpr (F::kGroup == kUnit) {
          add_group(AllSteps{}, 0);
        } else {
          add_group(FirstHalf{}, 0);
          add_group(SecondHalf{}, 1);
        }
      }
    }
    end_sums<true>(sums, row, where);
  }
}

// ---- expanded panels: for each unit, FP32 scales [group][32], minima likewise, then 8 planes of byte codes.

template <int kGroup, bool kHasMin>
struct ExpandedUnit {
  static constexpr int kGroups = kUnit / kGroup;
  static constexpr int kMinima = kGroups * kPlane;
  static constexpr int kCodes = kMinima * (kHasMin ? 2 : 1);
  static constexpr int kBytes = kCodes + kSteps * kPlane;
};

template <class F>
void expand(const std::byte* panel, int64_t cols, std::byte* expanded) {
  using L = ChunkLayout<F>;
  using E = ExpandedUnit<F::kGroup, F::kHasMin>;
  for (int64_t c = 0; c < cols; c += F::kBlock, panel += L::kBytes, expanded += L::kUnits * E::kBytes) {
    for (int row = 0; row < kPanelRows; row += kPassRows) {
      ChunkScales<F> scales;
      scales.load(panel, row);
      for (int u = 0; u < L::kUnits; ++u) {
        std::byte* to = expanded + u * E::kBytes;
        for (int r = 0; r < kLaneGroups; ++r) {
          const int lane = 4 * (row + r * kWidth);
          for (int g = 0; g < E::kGroups; ++g) {
            auto* out = reinterpret_cast<float*>(to + g * kPlane + lane);
            Simd::store_float(out, scales.scale[u * E::kGroups + g][r]);
            if constexpr (F::kHasMin) {
              out = reinterpret_cast<float*>(to + E::kMinima + g * kPlane + lane);
              Simd::store_float(out, scales.minimum[u * E::kGroups + g][r]);
            }
          }
          const std::byte* unit = panel + L::kCodes + u * CodeLayout<F>::kUnitBytes + lane;
          [&]<int... kStep>(Steps<kStep...>) QWEND_LAMBDA {
            (Simd::store(to + E::kCodes + kStep * kPlane + lane, step_codes<F, kStep>(unit)), ...);
          }
          (AllSteps{});
        }
      }
    }
  }
}

template <int kGroup, bool kHasMin, int kZero, int kTokens>
void product_expanded(const std::byte* panel, int64_t cols, const ActivationUnit* x, const Sums& where) {
  using E = ExpandedUnit<kGroup, kHasMin>;
  for (int row = 0; row < kPanelRows; row += kPassRows) {
    Float sums[kLaneGroups][kTokens];
    begin_sums<true>(where, row, sums);
    const std::byte* unit = panel + 4 * row;
    const ActivationUnit* unit_x = x;
    for (int64_t c = 0; c < cols; c += kUnit, unit += E::kBytes, unit_x += kTokens) {
      auto load_codes = [&]<int kStep>(Int(&codes)[kLaneGroups]) QWEND_LAMBDA {
        for (int r = 0; r < kLaneGroups; ++r) {
          codes[r] = Simd::load(unit + E::kCodes + kStep * kPlane + 4 * r * kWidth);
        }
      };
      auto add_group = [&](auto steps, int group) QWEND_LAMBDA {
        Int dots[kLaneGroups][kTokens];
        group_dots<kGroup, kZero>(steps, load_codes, unit_x, group, dots);
        Float scale[kLaneGroups], minimum[kLaneGroups];
        for (int r = 0; r < kLaneGroups; ++r) {
          const std::byte* at = unit + group * kPlane + 4 * r * kWidth;
          scale[r] = Simd::load_float(reinterpret_cast<const float*>(at));
          minimum[r] = scale[r];
          if constexpr (kHasMin)
            minimum[r] = Simd::load_float(reinterpret_cast<const float*>(at + E::kMinima));
        }
        finish_group<kGroup, kHasMin>(scale, minimum, unit_x, group, dots, sums);
      };
      if constexpr (kGroup == kUnit) {
        add_group(AllSteps{}, 0);
      } else {
        add_group(FirstHalf{}, 0);
        add_group(SecondHalf{}, 1);
      }
    }
    end_sums<true>(sums, row, where);
  }
}

// ---- float formats

template <class F>
QWEND_INLINE Float load_weights(const std::byte* from) {
  if constexpr (F::kType == DType::F32) {
    return Simd::load_float(reinterpret_cast<const float*>(from));
  } else if constexpr (F::kType == DType::F16) {
    return Simd::load_half(from);
  } else {
    return Simd::load_bfloat16(from);
  }
}

template <class F, int kTokens>
void product_float(const std::byte* panel, int64_t cols, const float* x, const Sums& where) {
  constexpr int kElement = sizeof(typename F::Block);
  for (int row = 0; row < kPanelRows; row += kPassRows) {
    Float sums[kLaneGroups][kTokens];
    begin_sums<false>(where, row, sums);
    const std::byte* column = panel + kElement * row;
    const float* column_x = x;
    for (int64_t c = 0; c < cols; ++c, column += kElement * kPanelRows, column_x += kTokens) {
      if constexpr (kTokens == 1) __builtin_prefetch(column + prefetch_bytes(kTokens));
      Float w[kLaneGroups];
      for (int r = 0; r < kLaneGroups; ++r) w[r] = load_weights<F>(column + kElement * r * kWidth);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) {
        const Float value = Simd::broadcast(column_x + t);
#pragma GCC unroll 2
        for (int r = 0; r < kLaneGroups; ++r) sums[r][t] = Simd::fma(w[r], value, sums[r][t]);
      }
    }
    end_sums<false>(sums, row, where);
  }
}

// ---- the table

template <class F, int... kCount>
BlockKernels block_kernels(Steps<kCount...>) {
  BlockKernels k;
  k.one = &product_packed<F, 1>;
  if constexpr (F::kBits == 8) {  // bytes already: expanding would only add traffic
    ((k.many[kCount] = &product_packed<F, kCount>), ...);
  } else {
    k.expand = &expand<F>;
    ((k.many[kCount] = &product_expanded<F::kGroup, F::kHasMin, F::kZero, kCount>), ...);
  }
  return k;
}
template <class F, int... kCount>
FloatKernels float_kernels(Steps<kCount...>) {
  FloatKernels k;
  ((k.many[kCount] = &product_float<F, kCount>), ...);
  return k;
}

template <int kLast, int... kCount>
constexpr auto counts_to() {
  if constexpr (kLast == 0) {
    return Steps<kCount...>{};
  } else {
    return counts_to<kLast - 1, kLast, kCount...>();
  }
}

KernelSet make_kernel_set() {
  KernelSet set;
  set.block_tokens = Simd::kBlockTokens;
  set.float_tokens = Simd::kFloatTokens;
  set.quantize = &quantize;
  set.swiglu = &swiglu;
  quant::BlockFormats::for_each([&]<class F>() {
    set.block[static_cast<size_t>(F::kType)] = block_kernels<F>(counts_to<Simd::kBlockTokens>());
  });
  quant::FloatFormats::for_each([&]<class F>() {
    set.floats[static_cast<size_t>(F::kType)] = float_kernels<F>(counts_to<Simd::kFloatTokens>());
  });
  return set;
}

}  // namespace
}  // namespace qwend::cpu
