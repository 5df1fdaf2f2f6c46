// Kernels for AVX2 with FMA and F16C.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/matmul_kernels.h"

namespace qwend::cpu {
namespace {

struct Simd {
  static constexpr int kWidth = 8;
  // 2 x 2 integer and 2 x 2 float sums, 2 code vectors and temporaries of 16 registers.
  static constexpr int kBlockTokens = 2;
  static constexpr int kFloatTokens = 6;
  using Int = __m256i;
  using Float = __m256;

  static Int load(const std::byte* from) { return load256(from); }
  static void store(std::byte* to, Int v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v); }
  static Int load_int8(const std::byte* from) { return _mm256_cvtepi8_epi32(load64(from)); }
  static Int load_uint8(const std::byte* from) { return _mm256_cvtepu8_epi32(load64(from)); }
  static Int set1(int32_t value) { return _mm256_set1_epi32(value); }
  static Int broadcast4(const int8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, 4);
    return _mm256_set1_epi32(word);
  }
  static Int bit_and(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int bit_or(Int a, Int b) { return _mm256_or_si256(a, b); }
  static Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  static Int shift_right_by(Int a, int count) { return _mm256_srli_epi32(a, count); }
  template <int kCount>
  static Int shift_right(Int a) {
    return _mm256_srli_epi32(a, kCount);
  }
  template <int kCount>
  static Int shift_left(Int a) {
    return _mm256_slli_epi32(a, kCount);
  }
  static Int codebook(Int codes) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(quant::kIq4Codebook));
    const __m128i unsigned_table = _mm_xor_si128(table, _mm_set1_epi8(static_cast<char>(0x80)));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(unsigned_table), codes);
  }
  // Pairs of products must fit 16 bits. Codes below 64 do; bytes around 128 go in as magnitudes, with their
  // signs moved to x (at most 128 * 127 * 2), so that they need no zero point.
  template <int kZero>
  static Int dot4(Int acc, Int codes, Int x) {
    if constexpr (kZero == 128) {
      const Int values = _mm256_xor_si256(codes, _mm256_set1_epi8(static_cast<char>(0x80)));
      x = _mm256_sign_epi8(x, values);
      codes = _mm256_abs_epi8(values);
    }
    const Int pairs = _mm256_maddubs_epi16(codes, x);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  template <int kZero>
  static Int high_zero_point(const int32_t*) {
    return _mm256_setzero_si256();
  }
  template <int kZero>
  static Int zero_point(const int32_t* negative_sum) {
    if constexpr (kZero == 0 || kZero == 128) {
      return _mm256_setzero_si256();
    } else {
      return _mm256_slli_epi32(_mm256_set1_epi32(*negative_sum), __builtin_ctz(kZero));
    }
  }

  static Float load_float(const float* from) { return _mm256_loadu_ps(from); }
  static void store_float(float* to, Float v) { _mm256_storeu_ps(to, v); }
  static Float load_half(const std::byte* from) { return _mm256_cvtph_ps(load128(from)); }
  static Float load_bfloat16(const std::byte* from) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(from)), 16));
  }
  static Float broadcast(const float* from) { return _mm256_set1_ps(*from); }
  static Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float shift_exponent(Float a, Int e) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), e));
  }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float fnma(Float a, Float b, Float c) { return _mm256_fnmadd_ps(a, b, c); }

 private:
  static __m128i load64(const std::byte* from) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  }
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

const KernelSet& avx2_kernels() {
  static const KernelSet set = make_kernel_set();
  return set;
}

}  // namespace qwend::cpu
#endif
