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
  static Float shift_exponent(Float a, Int e) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), e));
  }
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

// ---- four units at once: unit u in the u-th quarter (four lanes) of a register, so that what one unit does
// lane by lane (maxima, sums, divisions) takes a quarter of the operations. The same results as
// quantize_unit().

// Combines the lanes of each v[u] into the four lanes of quarter u.
template <class Combine>
QWEND_INLINE __m512i to_quarters(const __m512i (&v)[4], Combine combine) {
  const auto halves = [&](__m512i a, __m512i b) {  // [a | a | b | b]
    return combine(_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(a, b, 0xee));
  };
  const __m512i ab = halves(v[0], v[1]), cd = halves(v[2], v[3]);
  return combine(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd));
}

// Splits the 15-bit values of two units into planes.
QWEND_INLINE void store_planes(__m512i a0, __m512i a1, __m512i b0, __m512i b1, ActivationUnit* a,
                               ActivationUnit* b) {
  // Packing takes 4 values from each operand in turn; `order` brings them back into theirs.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i qa = _mm512_packs_epi32(a0, a1), qb = _mm512_packs_epi32(b0, b1);
  const auto high_of = [](__m512i q) {
    return _mm512_srai_epi16(_mm512_add_epi16(q, _mm512_set1_epi16(64)), 7);
  };
  const __m512i high_a = high_of(qa), high_b = high_of(qb);
  const auto low_of = [](__m512i q, __m512i high) { return _mm512_sub_epi16(q, _mm512_slli_epi16(high, 7)); };
  const __m512i high = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(high_a, high_b));
  const __m512i low =
      _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low_of(qa, high_a), low_of(qb, high_b)));
  const auto store = [](int8_t* to, __m256i bytes) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  };
  store(a->high, _mm512_castsi512_si256(high));
  store(a->low, _mm512_castsi512_si256(low));
  store(b->high, _mm512_extracti64x4_epi64(high, 1));
  store(b->low, _mm512_extracti64x4_epi64(low, 1));
}

void quantize_four_units(const float* x, ActivationUnit* out, int64_t out_stride) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512 first[4], second[4];
  __m512i bits[4];
  for (int u = 0; u < 4; ++u) {
    first[u] = _mm512_loadu_ps(x + u * kUnit);
    second[u] = _mm512_loadu_ps(x + u * kUnit + 16);
    bits[u] = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(first[u]), magnitude),
                               _mm512_and_si512(_mm512_castps_si512(second[u]), magnitude));
  }
  __m512i max_bits = to_quarters(bits, [](__m512i a, __m512i b) { return _mm512_max_epi32(a, b); });
  max_bits = _mm512_max_epi32(max_bits, _mm512_shuffle_epi32(max_bits, _MM_PERM_BADC));
  max_bits = _mm512_max_epi32(max_bits, _mm512_shuffle_epi32(max_bits, _MM_PERM_CDAB));
  using Scale = UnitScale;
  const __m512i largest = _mm512_srli_epi32(_mm512_add_epi32(max_bits, _mm512_set1_epi32(Scale::kCarry)), 23);
  const __mmask16 usable = _mm512_cmple_epi32_mask(largest, _mm512_set1_epi32(Scale::kMost));
  const __m512i biased = _mm512_min_epi32(_mm512_max_epi32(largest, _mm512_set1_epi32(Scale::kLeast)),
                                          _mm512_set1_epi32(Scale::kMost));
  const auto bits_of = [](__m512i exponent) { return _mm512_slli_epi32(exponent, 23); };
  const auto or_nan = [&](__m512i usual) {
    return _mm512_mask_mov_epi32(_mm512_set1_epi32(Scale::kNan), usable, usual);
  };
  const __m512 inverse = _mm512_castsi512_ps(bits_of(_mm512_sub_epi32(_mm512_set1_epi32(267), biased)));
  const __m512i exponent = _mm512_sub_epi32(biased, _mm512_set1_epi32(Scale::kLeast));
  const __m512 scale =
      _mm512_castsi512_ps(or_nan(bits_of(_mm512_add_epi32(exponent, _mm512_set1_epi32(127)))));
  __m512i q0[4], q1[4];
  const auto round_unit = [&](int u, __mmask16 kept, __m512 factor) {
    q0[u] = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(first[u], factor));
    q1[u] = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(second[u], factor));
  };
  const auto kept = [&](int u) { return static_cast<__mmask16>((usable >> 4 * u & 1) != 0 ? 0xffff : 0); };
  round_unit(0, kept(0), _mm512_shuffle_f32x4(inverse, inverse, 0x00));
  round_unit(1, kept(1), _mm512_shuffle_f32x4(inverse, inverse, 0x55));
  round_unit(2, kept(2), _mm512_shuffle_f32x4(inverse, inverse, 0xaa));
  round_unit(3, kept(3), _mm512_shuffle_f32x4(inverse, inverse, 0xff));
  store_planes(q0[0], q1[0], q0[1], q1[1], out, out + out_stride);
  store_planes(q0[2], q1[2], q0[3], q1[3], out + 2 * out_stride, out + 3 * out_stride);

  // Each quarter: [half 0, half 1, half 0, half 1] of its unit's sum.
  const auto add = [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); };
  const __m512i lanes0 = to_quarters(q0, add), lanes1 = to_quarters(q1, add);
  __m512i halves = add(_mm512_unpacklo_epi32(lanes0, lanes1), _mm512_unpackhi_epi32(lanes0, lanes1));
  halves = add(halves, _mm512_shuffle_epi32(halves, _MM_PERM_BADC));
  const __m512i whole = add(halves, _mm512_shuffle_epi32(halves, _MM_PERM_CDAB));
  // exponent, -whole, -half 0, -half 1; then the scaled whole, half 0, half 1.
  const __m512i zero = _mm512_setzero_si512();
  const __m512i negative =
      _mm512_mask_mov_epi32(_mm512_sub_epi32(zero, halves), 0x2222, _mm512_sub_epi32(zero, whole));
  const __m512i integers = _mm512_mask_mov_epi32(
      _mm512_mask_shuffle_epi32(negative, 0xcccc, _mm512_sub_epi32(zero, halves), _MM_PERM_BADC), 0x1111,
      or_nan(bits_of(exponent)));
  const __m512i sums = _mm512_mask_mov_epi32(_mm512_shuffle_epi32(halves, _MM_PERM_CBAD), 0x1111, whole);
  const __m512i scaled = _mm512_castps_si512(_mm512_mul_ps(scale, _mm512_cvtepi32_ps(sums)));
  const auto store = [&](ActivationUnit* to, __m128i start, __m128i end) {
    static_assert(offsetof(ActivationUnit, exponent) == 64 && offsetof(ActivationUnit, scaled_sum) == 80);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&to->exponent), start);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&to->scaled_sum), end);
  };
  store(out, _mm512_extracti32x4_epi32(integers, 0), _mm512_extracti32x4_epi32(scaled, 0));
  store(out + out_stride, _mm512_extracti32x4_epi32(integers, 1), _mm512_extracti32x4_epi32(scaled, 1));
  store(out + 2 * out_stride, _mm512_extracti32x4_epi32(integers, 2), _mm512_extracti32x4_epi32(scaled, 2));
  store(out + 3 * out_stride, _mm512_extracti32x4_epi32(integers, 3), _mm512_extracti32x4_epi32(scaled, 3));
}

void quantize_avx512(const float* x, int64_t cols, ActivationUnit* out, int64_t out_stride) {
  int64_t c = 0;
  for (; c + 4 * kUnit <= cols; c += 4 * kUnit, out += 4 * out_stride)
    quantize_four_units(x + c, out, out_stride);
  quantize(x + c, cols - c, out, out_stride);
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
