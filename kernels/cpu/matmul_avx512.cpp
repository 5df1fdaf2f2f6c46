// Kernels for AVX-512 with VNNI.
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12: in its own _mm512_undefined_*
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "kernels/cpu/matmul_kernels.h"

namespace qwend::cpu {
namespace {

struct Simd {
  static constexpr int kWidth = 16;
  // 2 x 6 integer and 2 x 6 float sums, 2 code vectors: 26 of 32 registers.
  static constexpr int kBlockTokens = 6;
  static constexpr int kFloatTokens = 12;
  using Int = __m512i;
  using Float = __m512;

  static Int load(const std::byte* from) { return _mm512_loadu_si512(from); }
  static void store(std::byte* to, Int v) { _mm512_storeu_si512(to, v); }
  static Int load_int8(const std::byte* from) { return _mm512_cvtepi8_epi32(load128(from)); }
  static Int load_uint8(const std::byte* from) { return _mm512_cvtepu8_epi32(load128(from)); }
  static Int set1(int32_t value) { return _mm512_set1_epi32(value); }
  static Int broadcast4(const int8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, 4);
    return _mm512_set1_epi32(word);
  }
  static Int bit_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int bit_or(Int a, Int b) { return _mm512_or_si512(a, b); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  static Int shift_right_by(Int a, int count) { return _mm512_srli_epi32(a, static_cast<unsigned>(count)); }
  template <int kCount>
  static Int shift_right(Int a) {
    return _mm512_srli_epi32(a, kCount);
  }
  template <int kCount>
  static Int shift_left(Int a) {
    return _mm512_slli_epi32(a, kCount);
  }
  static Int codebook(Int codes) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(quant::kIq4Codebook));
    const __m128i unsigned_table = _mm_xor_si128(table, _mm_set1_epi8(static_cast<char>(0x80)));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(unsigned_table), codes);
  }
  template <int kZero>
  static Int dot4(Int acc, Int codes, Int x) {
    return _mm512_dpbusd_epi32(acc, codes, x);
  }
  template <int kZero>
  static Int zero_point(const int32_t* negative_sum) {
    if constexpr (kZero == 0) {
      return _mm512_setzero_si512();
    } else {
      return _mm512_slli_epi32(_mm512_set1_epi32(*negative_sum), __builtin_ctz(kZero));
    }
  }

  static Float load_float(const float* from) { return _mm512_loadu_ps(from); }
  static void store_float(float* to, Float v) { _mm512_storeu_ps(to, v); }
  static Float load_half(const std::byte* from) { return _mm512_cvtph_ps(load256(from)); }
  static Float load_bfloat16(const std::byte* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load256(from)), 16));
  }
  static Float broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float fnma(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }

 private:
  static __m128i load128(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  static __m256i load256(const std::byte* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
};

}  // namespace
}  // namespace qwend::cpu

#include "kernels/cpu/matmul_kernels_impl.h"

namespace qwend::cpu {

const KernelSet& avx512_kernels() {
  static const KernelSet set = make_kernel_set();
  return set;
}

}  // namespace qwend::cpu
#endif
