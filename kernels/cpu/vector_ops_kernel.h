// The bodies of VectorOps, written once over the lanes of simd.h.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {

template <class S>
struct VectorKernels {
  using V = typename S::V;
  static constexpr int64_t kLanes = simd::kLanes;

  // Calls body(offset, count) for each group of up to 16 elements.
  template <class F>
  QWEND_INLINE void each_group(int64_t n, F body) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) body(i, static_cast<int>(kLanes));
    if (i < n) body(i, static_cast<int>(n - i));
  }
  QWEND_INLINE V get(const float* p, int count) {
    return count == kLanes ? S::load(p) : S::load_first(p, count);
  }
  QWEND_INLINE void put(float* p, V v, int count) {
    if (count == kLanes)
      S::store(p, v);
    else
      S::store_first(p, v, count);
  }

  static float dot(const float* x, const float* y, int64_t n) {
    V even = S::set1(0.0f), odd = S::set1(0.0f);  // two chains hide the latency of the multiply-add
    int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      even = S::fma(S::load(x + i), S::load(y + i), even);
      odd = S::fma(S::load(x + i + kLanes), S::load(y + i + kLanes), odd);
    }
    each_group(n - i, [&](int64_t j, int count) {
      even = S::fma(get(x + i + j, count), get(y + i + j, count), even);
    });
    return S::sum(S::add(even, odd));
  }

  static void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
    const float mean = dot(x, x, n) / static_cast<float>(n);
    const V scale = S::set1(1.0f / __builtin_sqrtf(mean + eps));
    each_group(n, [&](int64_t i, int count) {
      put(out + i, S::mul(S::mul(get(x + i, count), scale), get(weight + i, count)), count);
    });
  }

  static void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
    // silu below -88 is less than 1e-36 off 0; the bound keeps e^-g finite. NaN stays NaN.
    const V one = S::set1(1.0f), zero = S::set1(0.0f), lowest = S::set1(-88.0f);
    each_group(n, [&](int64_t i, int count) {
      const V g = S::max(lowest, get(gate + i, count));
      const V silu = S::div(g, S::add(one, simd::exp<S>(S::sub(zero, g))));
      put(out + i, S::mul(silu, get(up + i, count)), count);
    });
  }

  static void rotate(float* x, const float* cosines, const float* sines, int64_t half) {
    each_group(half, [&](int64_t i, int count) {
      const V c = get(cosines + i, count), s = get(sines + i, count);
      const V a = get(x + i, count), b = get(x + half + i, count);
      put(x + i, S::sub(S::mul(a, c), S::mul(b, s)), count);
      put(x + half + i, S::fma(a, s, S::mul(b, c)), count);
    });
  }

  static void add(const float* y, int64_t n, float* x) {
    each_group(
        n, [&](int64_t i, int count) { put(x + i, S::add(get(x + i, count), get(y + i, count)), count); });
  }

  static void add_scaled(const float* y, float a, int64_t n, float* x) {
    const V factor = S::set1(a);
    each_group(n, [&](int64_t i, int count) {
      put(x + i, S::fma(factor, get(y + i, count), get(x + i, count)), count);
    });
  }

  static void to_half(const float* x, int64_t n, uint16_t* out) {
    const V largest = S::set1(65504.0f), lowest = S::set1(-65504.0f);
    each_group(n, [&](int64_t i, int count) {
      // the element as second operand: NaN stays NaN
      const V bounded = S::max(lowest, S::min(largest, get(x + i, count)));
      S::store_half_first(out + i, bounded, count);
    });
  }

  static float max(const float* x, int64_t n) {
    const V lowest = S::set1(-__builtin_inff());
    V best = lowest;
    // max(element, best) keeps best where the element is NaN
    each_group(
        n, [&](int64_t i, int count) { best = S::max(S::first(get(x + i, count), lowest, count), best); });
    return S::largest(best);
  }

  static float finite(const float* x, int64_t n, float* out) {
    const V lowest = S::set1(-__builtin_inff()), highest = S::set1(__FLT_MAX__);
    V best = lowest;
    each_group(n, [&](int64_t i, int count) {
      const V bounded = S::min(S::max(get(x + i, count), lowest), highest);  // max(NaN, lowest) is lowest
      put(out + i, bounded, count);
      best = S::max(S::first(bounded, lowest, count), best);
    });
    return S::largest(best);
  }

  static uint64_t at_least(const float* x, float least, int64_t n) {
    const V bound = S::set1(least), never = S::set1(__builtin_nanf(""));
    uint64_t bits = 0;
    each_group(n, [&](int64_t i, int count) {
      bits |= uint64_t{S::at_least(S::first(get(x + i, count), never, count), bound)} << i;
    });
    return bits;
  }

  static double exp_sum(const float* x, float shift, float scale, int64_t n, float* out) {
    constexpr int64_t kSpan = 4096;  // elements summed in FP32 before they join the double
    const V by = S::set1(shift), factor = S::set1(scale), lowest = S::set1(-__builtin_inff());
    double total = 0.0;
    for (int64_t begin = 0; begin < n; begin += kSpan) {
      V partial = S::set1(0.0f);
      each_group(n - begin < kSpan ? n - begin : kSpan, [&](int64_t i, int count) {
        const V argument = S::max(S::mul(S::sub(get(x + begin + i, count), by), factor), lowest);
        const V e = simd::exp<S>(S::first(argument, lowest, count));
        partial = S::add(partial, e);
        if (out != nullptr) put(out + begin + i, e, count);
      });
      total += static_cast<double>(S::sum(partial));
    }
    return total;
  }

  static constexpr VectorOps table(const char* name) {
    return {name, rms_norm, silu_mul, rotate, add, add_scaled, to_half, dot, max, finite, at_least, exp_sum};
  }
};

}  // namespace qwend::cpu
