// Sixteen float lanes under one interface, so that a kernel is written once and compiled for each
// instruction set. simd_portable.h has the same in plain C++.
//
// Only templates parameterised by one of these structs may use them, and each struct is instantiated in
// one kind of source file (*_avx2.cpp, *_avx512.cpp): code compiled for a newer CPU never leaks
// into functions that an older one runs.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
// GCC 12 takes the "undefined" registers of its own AVX-512 header for uninitialised variables.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define QWEND_INLINE [[gnu::always_inline]] static inline

namespace qwend::simd {

inline constexpr int kLanes = 16;

#if defined(__AVX2__) && defined(__FMA__)
struct Avx2 {
  struct V {
    __m256 lo, hi;
  };
  static constexpr int kTileRows = 6, kTileVectors = 1;

  QWEND_INLINE __m256i below(int n, int from) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - from), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  QWEND_INLINE V set1(float x) {
    const __m256 v = _mm256_set1_ps(x);
    return {v, v};
  }
  QWEND_INLINE V load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  QWEND_INLINE V load_first(const float* p, int n) {
    return {_mm256_maskload_ps(p, below(n, 0)), _mm256_maskload_ps(p + 8, below(n, 8))};
  }
  QWEND_INLINE V load_half(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  QWEND_INLINE void store_half_first(uint16_t* p, V a, int n) {
    alignas(32) uint16_t half[kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(half), _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_store_si128(reinterpret_cast<__m128i*>(half + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
    __builtin_memcpy(p, half, 2 * static_cast<size_t>(n));
  }
  QWEND_INLINE void store(float* p, V a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
  }
  QWEND_INLINE void store_first(float* p, V a, int n) {
    _mm256_maskstore_ps(p, below(n, 0), a.lo);
    _mm256_maskstore_ps(p + 8, below(n, 8), a.hi);
  }
  QWEND_INLINE V add(V a, V b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
  QWEND_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
  QWEND_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
  QWEND_INLINE V div(V a, V b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
  QWEND_INLINE V fma(V a, V b, V c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  QWEND_INLINE V max(V a, V b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
  QWEND_INLINE V min(V a, V b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
  QWEND_INLINE V first(V a, V b, int n) {
    return {_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(below(n, 0))),
            _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(below(n, 8)))};
  }
  QWEND_INLINE uint32_t at_least(V a, V b) {
    const int lo = _mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ));
    const int hi = _mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ));
    return static_cast<uint32_t>(lo | hi << 8);
  }
  QWEND_INLINE V zero_below(V a, V x, float limit) {
    const __m256 l = _mm256_set1_ps(limit);
    return {_mm256_andnot_ps(_mm256_cmp_ps(x.lo, l, _CMP_LT_OQ), a.lo),
            _mm256_andnot_ps(_mm256_cmp_ps(x.hi, l, _CMP_LT_OQ), a.hi)};
  }
  QWEND_INLINE V round(V a) {
    return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
            _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  QWEND_INLINE __m256 power(__m256 n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }
  QWEND_INLINE V scale(V a, V n) {
    return {_mm256_mul_ps(a.lo, power(n.lo)), _mm256_mul_ps(a.hi, power(n.hi))};
  }
  QWEND_INLINE float sum(V a) {
    const __m256 eight = _mm256_add_ps(a.lo, a.hi);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  QWEND_INLINE float largest(V a) {
    const __m256 eight = _mm256_max_ps(a.lo, a.hi);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
};
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__)
struct Avx512 {
  using V = __m512;
  static constexpr int kTileRows = 6, kTileVectors = 4;

  QWEND_INLINE __mmask16 below(int n) {
    return n >= 16 ? __mmask16{0xffff} : n <= 0 ? __mmask16{0} : static_cast<__mmask16>((1u << n) - 1u);
  }
  QWEND_INLINE V set1(float x) { return _mm512_set1_ps(x); }
  QWEND_INLINE V load(const float* p) { return _mm512_loadu_ps(p); }
  QWEND_INLINE V load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(below(n), p); }
  QWEND_INLINE V load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  QWEND_INLINE void store_half_first(uint16_t* p, V a, int n) {
    _mm256_mask_storeu_epi16(p, below(n), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  QWEND_INLINE void store(float* p, V a) { _mm512_storeu_ps(p, a); }
  QWEND_INLINE void store_first(float* p, V a, int n) { _mm512_mask_storeu_ps(p, below(n), a); }
  QWEND_INLINE V add(V a, V b) { return _mm512_add_ps(a, b); }
  QWEND_INLINE V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  QWEND_INLINE V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  QWEND_INLINE V div(V a, V b) { return _mm512_div_ps(a, b); }
  QWEND_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  QWEND_INLINE V max(V a, V b) { return _mm512_max_ps(a, b); }
  QWEND_INLINE V min(V a, V b) { return _mm512_min_ps(a, b); }
  QWEND_INLINE V first(V a, V b, int n) { return _mm512_mask_blend_ps(below(n), b, a); }
  QWEND_INLINE uint32_t at_least(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
  QWEND_INLINE V zero_below(V a, V x, float limit) {
    const __mmask16 keep = _mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_NLT_UQ);
    return _mm512_maskz_mov_ps(keep, a);
  }
  QWEND_INLINE V round(V a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  QWEND_INLINE V scale(V a, V n) { return _mm512_scalef_ps(a, n); }
  QWEND_INLINE float sum(V a) { return _mm512_reduce_add_ps(a); }
  QWEND_INLINE float largest(V a) { return _mm512_reduce_max_ps(a); }
};
#endif

// e^x, about 1 ulp; 0 below -87.3 (so e^-inf = 0), e^88.37 above 88.37; NaN stays NaN.
template <class S>
QWEND_INLINE typename S::V exp(typename S::V x) {
  using V = typename S::V;
  const V bounded = S::max(S::set1(-87.3f), S::min(S::set1(88.37f), x));
  const V n = S::round(S::mul(bounded, S::set1(1.44269504088896341f)));
  // r = x - n ln 2, with ln 2 in two parts so that the product with n is exact in the first
  V r = S::fma(n, S::set1(-0.693359375f), bounded);
  r = S::fma(n, S::set1(2.12194440e-4f), r);
  V p = S::set1(1.0f / 5040.0f);
  p = S::fma(p, r, S::set1(1.0f / 720.0f));
  p = S::fma(p, r, S::set1(1.0f / 120.0f));
  p = S::fma(p, r, S::set1(1.0f / 24.0f));
  p = S::fma(p, r, S::set1(1.0f / 6.0f));
  p = S::fma(p, r, S::set1(0.5f));
  p = S::fma(p, r, S::set1(1.0f));
  p = S::fma(p, r, S::set1(1.0f));
  return S::zero_below(S::scale(p, n), x, -87.3f);
}

template <class S>
QWEND_INLINE typename S::V load_as_float(const float* p) {
  return S::load(p);
}
template <class S>
QWEND_INLINE typename S::V load_as_float(const uint16_t* p) {
  return S::load_half(p);
}

}  // namespace qwend::simd
