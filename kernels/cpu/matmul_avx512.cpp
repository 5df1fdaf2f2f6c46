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
  static Int high_zero_point(const int32_t* negative_sum) {
    return kZero == 128 ? _mm512_set1_epi32(*negative_sum) : _mm512_setzero_si512();
  }
  template <int kZero>
  static Int zero_point(const int32_t* negative_sum) {
    if constexpr (kZero == 0 || kZero == 128) {
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
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
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

namespace {

// The arithmetic of quantize() in vectors.
void quantize_unit(const float* x, ActivationUnit* out) {
  constexpr float kLargest = 127 * 128;
  const __m512 first = _mm512_loadu_ps(x), second = _mm512_loadu_ps(x + 16);
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i bits = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(first), magnitude),
                                        _mm512_and_si512(_mm512_castps_si512(second), magnitude));
  const int32_t max_bits = _mm512_reduce_max_epi32(bits);
  const float max = __builtin_bit_cast(float, max_bits);
  const bool finite = max_bits < 0x7f800000, usable = finite && max > 1e-30f;
  const __m512 inverse = _mm512_set1_ps(usable ? kLargest / max : 0.0f);
  const __mmask16 kept = usable ? __mmask16{0xffff} : __mmask16{0};
  const __m512i q0 = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(first, inverse));
  const __m512i q1 = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(second, inverse));
  const auto split = [](__m512i q, int8_t* high_plane, int8_t* low_plane) {
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(64)), 7);
    const __m512i low = _mm512_sub_epi32(q, _mm512_slli_epi32(high, 7));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high_plane), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low_plane), _mm512_cvtepi32_epi8(low));
  };
  split(q0, out->high, out->low);
  split(q1, out->high + 16, out->low + 16);
  const int32_t sums[2] = {_mm512_reduce_add_epi32(q0), _mm512_reduce_add_epi32(q1)};
  out->d = usable ? max / kLargest : finite ? 0.0f : __builtin_nanf("");
  out->negative_sum = -(sums[0] + sums[1]);
  out->scaled_sum = out->d * static_cast<float>(sums[0] + sums[1]);
  for (int h = 0; h < 2; ++h) {
    out->negative_half_sums[h] = -sums[h];
    out->scaled_half_sums[h] = out->d * static_cast<float>(sums[h]);
  }
}

void quantize_avx512(const float* x, int64_t cols, ActivationUnit* out, int64_t out_stride) {
  for (int64_t c = 0; c < cols; c += kUnit, out += out_stride) quantize_unit(x + c, out);
}

}  // namespace

const KernelSet& avx512_kernels() {
  static const KernelSet set = [] {
    KernelSet all = make_kernel_set();
    all.quantize = &quantize_avx512;
    return all;
  }();
  return set;
}

}  // namespace qwend::cpu
#endif
