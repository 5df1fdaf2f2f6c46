// The lanes of simd.h in plain C++: any machine; also the reference of the kernel tests.
#pragma once
#include <bit>
#include <cstdint>

#include "kernels/cpu/simd.h"
#include "kernels/quant/half.h"

namespace qwend::simd {

struct Portable {
  struct V {
    float lane[kLanes];
  };
  // Register tiles of the attention kernels: query rows x vectors.
  static constexpr int kTileRows = 4, kTileVectors = 1;

  template <class F>
  QWEND_INLINE V each(F f) {
    V r;
    for (int i = 0; i < kLanes; ++i) r.lane[i] = f(i);
    return r;
  }
  QWEND_INLINE V set1(float x) {
    return each([&](int) { return x; });
  }
  QWEND_INLINE V load(const float* p) {
    return each([&](int i) { return p[i]; });
  }
  QWEND_INLINE V load_first(const float* p, int n) {
    return each([&](int i) { return i < n ? p[i] : 0.0f; });
  }
  QWEND_INLINE V load_half(const uint16_t* p) {
    return each([&](int i) { return quant::half_to_float(p[i]); });
  }
  QWEND_INLINE void store_half_first(uint16_t* p, V a, int n) {
    for (int i = 0; i < n; ++i) p[i] = quant::float_to_half(a.lane[i]);
  }
  QWEND_INLINE void store(float* p, V a) {
    for (int i = 0; i < kLanes; ++i) p[i] = a.lane[i];
  }
  QWEND_INLINE void store_first(float* p, V a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.lane[i];
  }
  QWEND_INLINE V add(V a, V b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  QWEND_INLINE V sub(V a, V b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  QWEND_INLINE V mul(V a, V b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  QWEND_INLINE V div(V a, V b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  QWEND_INLINE V fma(V a, V b, V c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  // b where either is NaN, as the x86 instructions do.
  QWEND_INLINE V max(V a, V b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  QWEND_INLINE V min(V a, V b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  // Lanes below n from a, the others from b.
  QWEND_INLINE V first(V a, V b, int n) {
    return each([&](int i) { return i < n ? a.lane[i] : b.lane[i]; });
  }
  // Bit i: a >= b in lane i.
  QWEND_INLINE uint32_t at_least(V a, V b) {
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= uint32_t{a.lane[i] >= b.lane[i]} << i;
    return bits;
  }
  // 0 where x < limit, else a.
  QWEND_INLINE V zero_below(V a, V x, float limit) {
    return each([&](int i) { return x.lane[i] < limit ? 0.0f : a.lane[i]; });
  }
  QWEND_INLINE V round(V a) {
    return each([&](int i) { return __builtin_nearbyintf(a.lane[i]); });
  }
  // a * 2^n for whole n in [-126, 127].
  QWEND_INLINE V scale(V a, V n) {
    return each([&](int i) {
      return a.lane[i] *
             std::bit_cast<float>(static_cast<uint32_t>(static_cast<int32_t>(n.lane[i]) + 127) << 23);
    });
  }
  // Fixed trees: the result depends on the lanes only.
  QWEND_INLINE float sum(V a) {
    for (int step = kLanes / 2; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) a.lane[i] += a.lane[i + step];
    return a.lane[0];
  }
  QWEND_INLINE float largest(V a) {
    float m = a.lane[0];
    for (int i = 1; i < kLanes; ++i) m = a.lane[i] > m ? a.lane[i] : m;
    return m;
  }
};

}  // namespace qwend::simd
