// Kernels in plain C++: the reference for the vector kernels, and the path of other processors.
#include <cstring>
#include <type_traits>

#include "kernels/cpu/matmul_kernels.h"
#include "kernels/quant/half.h"

namespace qwend::cpu {
namespace {

struct Simd {
  static constexpr int kWidth = 8;
  static constexpr int kBlockTokens = 2;
  static constexpr int kFloatTokens = 4;
  struct Int {
    int32_t lane[kWidth];
  };
  struct Float {
    float lane[kWidth];
  };

  // The vector of op(0) .. op(kWidth - 1).
  template <class Op>
  static auto each(Op op) {
    std::conditional_t<std::is_same_v<decltype(op(0)), float>, Float, Int> result;
    for (int i = 0; i < kWidth; ++i) result.lane[i] = op(i);
    return result;
  }
  template <class T>
  static T element(const void* from, int i) {
    T value;
    std::memcpy(&value, static_cast<const std::byte*>(from) + sizeof(T) * static_cast<size_t>(i), sizeof(T));
    return value;
  }

  static Int load(const std::byte* from) {
    return each([&](int i) { return element<int32_t>(from, i); });
  }
  static void store(std::byte* to, Int v) { std::memcpy(to, v.lane, sizeof(v.lane)); }
  static Int load_int8(const std::byte* from) {
    return each([&](int i) -> int32_t { return element<int8_t>(from, i); });
  }
  static Int load_uint8(const std::byte* from) {
    return each([&](int i) -> int32_t { return element<uint8_t>(from, i); });
  }
  static Int set1(int32_t value) {
    return each([&](int) { return value; });
  }
  static Int broadcast4(const int8_t* from) { return set1(element<int32_t>(from, 0)); }
  static Int bit_and(Int a, Int b) {
    return each([&](int i) { return a.lane[i] & b.lane[i]; });
  }
  static Int bit_or(Int a, Int b) {
    return each([&](int i) { return a.lane[i] | b.lane[i]; });
  }
  static Int add(Int a, Int b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Int sub(Int a, Int b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static Int shift_right_by(Int a, int count) {
    return each([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) >> count); });
  }
  template <int kCount>
  static Int shift_right(Int a) {
    return shift_right_by(a, kCount);
  }
  template <int kCount>
  static Int shift_left(Int a) {
    return each([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) << kCount); });
  }
  static Int codebook(Int codes) {
    return each([&](int i) {
      uint32_t bytes = 0;
      for (int b = 0; b < 4; ++b) {
        const int value = quant::kIq4Codebook[codes.lane[i] >> 8 * b & 15] + 128;
        bytes |= static_cast<uint32_t>(value) << 8 * b;
      }
      return static_cast<int32_t>(bytes);
    });
  }
  template <int kZero>
  static Int dot4(Int acc, Int codes, Int x) {
    return each([&](int i) {
      int32_t sum = acc.lane[i];
      for (int b = 0; b < 4; ++b) {
        sum += (codes.lane[i] >> 8 * b & 255) * static_cast<int8_t>(x.lane[i] >> 8 * b & 255);
      }
      return sum;
    });
  }
  template <int kZero>
  static Int high_zero_point(const int32_t*) {
    return set1(0);
  }
  template <int kZero>
  static Int zero_point(const int32_t* negative_sum) {
    return set1(kZero * *negative_sum);
  }

  static Float load_float(const float* from) {
    return each([&](int i) { return from[i]; });
  }
  static void store_float(float* to, Float v) { std::memcpy(to, v.lane, sizeof(v.lane)); }
  static Float load_half(const std::byte* from) {
    return each([&](int i) { return quant::half_to_float(element<uint16_t>(from, i)); });
  }
  static Float load_bfloat16(const std::byte* from) {
    return each([&](int i) { return quant::bfloat16_to_float(element<uint16_t>(from, i)); });
  }
  static Float broadcast(const float* from) {
    return each([&](int) { return *from; });
  }
  static Float to_float(Int a) {
    return each([&](int i) { return static_cast<float>(a.lane[i]); });
  }
  static Float add(Float a, Float b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Float shift_exponent(Float a, Int e) {
    return each(
        [&](int i) { return __builtin_bit_cast(float, __builtin_bit_cast(int32_t, a.lane[i]) + e.lane[i]); });
  }
  static Float mul(Float a, Float b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static Float fma(Float a, Float b, Float c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static Float fnma(Float a, Float b, Float c) {
    return each([&](int i) { return c.lane[i] - a.lane[i] * b.lane[i]; });
  }
};

}  // namespace
}  // namespace qwend::cpu

#include "kernels/cpu/matmul_kernels_impl.h"

namespace qwend::cpu {

const KernelSet& scalar_kernels() {
  static const KernelSet set = make_kernel_set();
  return set;
}

}  // namespace qwend::cpu
