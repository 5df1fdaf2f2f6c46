// Random weights in any format, for tests and benchmarks of products.
#pragma once
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/quant/formats.h"
#include "kernels/quant/half.h"

namespace qwend {

// Owns the bytes of a HostMatrix. Block formats: random codes and sub-scales with scales around `magnitude`;
// float formats: uniform in +-magnitude.
class RandomWeights {
 public:
  RandomWeights(DType dtype, int64_t rows, int64_t cols, int64_t experts, uint32_t seed,
                float magnitude = 0.02f)
      : dtype_(dtype), rows_(rows), cols_(cols), experts_(experts) {
    const FormatInfo& info = format_info(dtype);
    bytes_.resize(format_bytes(dtype, rows * cols * experts));
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-magnitude, magnitude);
    if (info.block_elements == 1) {
      for (int64_t i = 0; i < rows * cols * experts; ++i) put_float(i, uniform(random));
      return;
    }
    size_t i = 0;
    for (; i + 4 <= bytes_.size(); i += 4) {
      const uint32_t word = random();
      std::memcpy(&bytes_[i], &word, 4);
    }
    for (; i < bytes_.size(); ++i) bytes_[i] = static_cast<std::byte>(random());
    const auto block_bytes = static_cast<size_t>(info.block_bytes);
    for (size_t block = 0; block < bytes_.size(); block += block_bytes) {
      for (size_t offset : half_offsets()) {
        // Super-blocks multiply d by an integer of up to 63 or 127.
        const float value = uniform(random) / (info.block_elements > 32 ? 64.0f : 8.0f);
        const uint16_t half = quant::float_to_half(value);
        std::memcpy(&bytes_[block + offset], &half, 2);
      }
    }
  }

  HostMatrix matrix(std::string_view name = "weights") const {
    return {name, bytes_.data(), dtype_, rows_, cols_, experts_};
  }
  // Row-major FP32 values of one expert.
  std::vector<float> dequantized(int64_t expert = 0) const {
    std::vector<float> values(static_cast<size_t>(rows_ * cols_));
    dequantize(dtype_, bytes_.data() + format_bytes(dtype_, rows_ * cols_ * expert), values.data(),
               rows_ * cols_);
    return values;
  }

 private:
  std::vector<size_t> half_offsets() const {
    switch (dtype_) {
      case DType::Q4_1:
      case DType::Q5_1:
      case DType::Q4_K:
      case DType::Q5_K: return {0, 2};
      case DType::Q2_K: return {80, 82};
      case DType::Q3_K: return {108};
      case DType::Q6_K: return {208};
      default: return {0};
    }
  }
  void put_float(int64_t i, float value) {
    const uint16_t half = quant::float_to_half(value);
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const auto bfloat = static_cast<uint16_t>(bits >> 16);
    const void* from = dtype_ == DType::F32   ? static_cast<const void*>(&value)
                       : dtype_ == DType::F16 ? static_cast<const void*>(&half)
                                              : static_cast<const void*>(&bfloat);
    const size_t size = format_bytes(dtype_, 1);
    std::memcpy(&bytes_[static_cast<size_t>(i) * size], from, size);
  }

  DType dtype_;
  int64_t rows_, cols_, experts_;
  std::vector<std::byte> bytes_;
};

}  // namespace qwend
