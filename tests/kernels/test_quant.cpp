// Block formats against their published closed-form element formulas, written here a second time from raw
// byte offsets so that nothing is shared with the decoders.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kernels/quant/formats.h"
#include "tests/support/catch2.h"

namespace qwend {
namespace {

// Half precision by its definition.
double half_at(const uint8_t* p) {
  const int bits = p[0] | p[1] << 8;
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

const int kCodebook[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

int nibble(const uint8_t* qs, int j) { return j < 16 ? qs[j] & 15 : qs[j - 16] >> 4; }
int bit(const uint8_t* bytes, int i) { return bytes[i / 8] >> i % 8 & 1; }

void k_scale_min(const uint8_t* s, int g, int& scale, int& min) {
  if (g < 4) {
    scale = s[g] & 63;
    min = s[g + 4] & 63;
  } else {
    scale = (s[g + 4] & 15) + 16 * (s[g - 4] >> 6);
    min = (s[g + 4] >> 4) + 16 * (s[g] >> 6);
  }
}

// An element is product + offset; both are exact here.
struct Element {
  double product, offset = 0;
};

// Element e of the block at b.
Element element(DType type, const uint8_t* b, int e) {
  const int n = e / 128, r = e % 128 / 32, l = e % 32, s = e / 32, k = 8 * n + 2 * r + l / 16;
  int scale = 0, min = 0;
  switch (type) {
    case DType::F32: {
      float f;
      std::memcpy(&f, b, 4);
      return {f};
    }
    case DType::F16: return {half_at(b)};
    case DType::BF16: {
      const int bits = b[0] | b[1] << 8, exponent = bits >> 7 & 255, mantissa = bits & 127;
      const double sign = bits & 0x8000 ? -1.0 : 1.0;
      return {sign *
              (exponent == 0 ? std::ldexp(mantissa, -133) : std::ldexp(128 + mantissa, exponent - 134))};
    }
    case DType::Q8_0: return {half_at(b) * static_cast<int8_t>(b[2 + e])};
    case DType::Q4_0: return {half_at(b) * (nibble(b + 2, e) - 8)};
    case DType::Q4_1: return {half_at(b) * nibble(b + 4, e), half_at(b + 2)};
    case DType::Q5_0: return {half_at(b) * (nibble(b + 6, e) + 16 * bit(b + 2, e) - 16)};
    case DType::Q5_1: return {half_at(b) * (nibble(b + 8, e) + 16 * bit(b + 4, e)), half_at(b + 2)};
    case DType::IQ4_NL: return {half_at(b) * kCodebook[nibble(b + 2, e)]};
    case DType::Q2_K:
      return {half_at(b + 80) * (b[k] & 15) * (b[16 + 32 * n + l] >> 2 * r & 3),
              -half_at(b + 82) * (b[k] >> 4)};
    case DType::Q3_K: {
      const uint8_t* sc = b + 96;
      const int low = k < 8 ? sc[k] & 15 : sc[k - 8] >> 4, high = sc[8 + k % 4] >> 2 * (k / 4) & 3;
      const int q = (b[32 + 32 * n + l] >> 2 * r & 3) - (b[l] >> (4 * n + r) & 1 ? 0 : 4);
      return {half_at(b + 108) * (low + 16 * high - 32) * q};
    }
    case DType::Q4_K:
    case DType::Q5_K: {
      k_scale_min(b + 4, s, scale, min);
      const uint8_t* qs = b + (type == DType::Q4_K ? 16 : 48);
      int q = s % 2 == 0 ? qs[32 * (s / 2) + l] & 15 : qs[32 * (s / 2) + l] >> 4;
      if (type == DType::Q5_K) q += 16 * (b[16 + l] >> s & 1);
      return {half_at(b) * scale * q, -half_at(b + 2) * min};
    }
    case DType::Q6_K: {
      const int byte = b[64 * n + 32 * (r & 1) + l];
      const int q = (r < 2 ? byte & 15 : byte >> 4) + 16 * (b[128 + 32 * n + l] >> 2 * r & 3) - 32;
      return {half_at(b + 208) * static_cast<int8_t>(b[192 + k]) * q};
    }
    case DType::IQ4_XS: {
      const int high = (b[2] | b[3] << 8) >> 2 * s & 3, low = b[4 + s / 2] >> 4 * (s % 2) & 15;
      return {half_at(b) * (low + 16 * high - 32) * kCodebook[nibble(b + 8 + 16 * s, l)]};
    }
    case DType::I32: break;
  }
  return {NAN};
}

// Byte offsets of the halves of a block, whose random bits must be finite numbers.
std::vector<int> half_offsets(DType type) {
  switch (type) {
    case DType::Q4_1:
    case DType::Q5_1:
    case DType::Q4_K:
    case DType::Q5_K: return {0, 2};
    case DType::Q2_K: return {80, 82};
    case DType::Q3_K: return {108};
    case DType::Q6_K: return {208};
    case DType::F32:
    case DType::BF16: return {};
    default: return {0};
  }
}

std::vector<uint8_t> random_blocks(const FormatInfo& info, int blocks, std::mt19937& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(blocks) * static_cast<size_t>(info.block_bytes));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (int i = 0; i < blocks; ++i) {
    uint8_t* block = bytes.data() + i * info.block_bytes;
    for (int offset : half_offsets(info.dtype)) {
      uint8_t& upper = block[offset + 1];
      if (i % 3 == 0) {
        upper &= 0x83;  // exponent 0: subnormal
      } else if ((upper & 0x7c) == 0x7c) {
        upper &= 0xbf;  // infinity or NaN: made finite
      }
    }
    if (info.dtype == DType::F32 || info.dtype == DType::BF16) block[info.block_bytes - 1] &= 0xbf;
  }
  return bytes;
}

}  // namespace

TEST_CASE("every format decodes to its element formula", "[kernels][quant]") {
  std::mt19937 random(7);
  quant::AllFormats::for_each([&]<class F>() {
    const FormatInfo& info = format_info(F::kType);
    INFO(info.name);
    constexpr int kBlocks = 300;
    const auto bytes = random_blocks(info, kBlocks, random);
    std::vector<float> decoded(static_cast<size_t>(kBlocks * info.block_elements));
    dequantize(F::kType, bytes.data(), decoded.data(), static_cast<int64_t>(decoded.size()));
    int wrong = 0;
    double magnitude = 0;
    for (size_t i = 0; i < decoded.size(); ++i) {
      const int block = static_cast<int>(i) / info.block_elements,
                e = static_cast<int>(i) % info.block_elements;
      const Element expected = element(F::kType, bytes.data() + block * info.block_bytes, e);
      const double rounding = quant::BlockFormat<F> ? 0x1p-23 : 0.0;  // at most two FP32 roundings
      const double allowed = rounding * (std::abs(expected.product) + std::abs(expected.offset));
      wrong += !(std::abs(decoded[i] - (expected.product + expected.offset)) <= allowed);
      magnitude += std::abs(expected.product);
    }
    CHECK(wrong == 0);
    CHECK(magnitude > 0);
  });
}

TEST_CASE("formats agree with the GGUF type table", "[kernels][quant]") {
  struct Row {
    const char* name;
    uint32_t id;
    int block, bytes;
  };
  const Row rows[] = {{"F32", 0, 1, 4},       {"F16", 1, 1, 2},       {"BF16", 30, 1, 2},
                      {"Q8_0", 8, 32, 34},    {"Q4_0", 2, 32, 18},    {"Q4_1", 3, 32, 20},
                      {"Q5_0", 6, 32, 22},    {"Q5_1", 7, 32, 24},    {"Q2_K", 10, 256, 84},
                      {"Q3_K", 11, 256, 110}, {"Q4_K", 12, 256, 144}, {"Q5_K", 13, 256, 176},
                      {"Q6_K", 14, 256, 210}, {"IQ4_NL", 20, 32, 18}, {"IQ4_XS", 23, 256, 136}};
  std::set<DType> seen;
  for (const Row& row : rows) {
    INFO(row.name);
    const FormatInfo* info = format_by_gguf_id(row.id);
    REQUIRE(info != nullptr);
    CHECK(std::string(info->name) == row.name);
    CHECK(info->block_elements == row.block);
    CHECK(info->block_bytes == row.bytes);
    CHECK(&format_info(info->dtype) == info);
    CHECK(gguf_type_name(row.id) == info->name);
    CHECK(format_bytes(info->dtype, 512) == static_cast<size_t>(512 / row.block * row.bytes));
    seen.insert(info->dtype);
  }
  CHECK(seen.size() == std::size(rows));
}

TEST_CASE("types that qwend can't read still have a name", "[kernels][quant]") {
  CHECK(format_by_gguf_id(16) == nullptr);
  CHECK(std::string(gguf_type_name(16)) == "IQ2_XXS");
  CHECK(std::string(gguf_type_name(39)) == "MXFP4");
  CHECK(format_by_gguf_id(26) == nullptr);
  CHECK(std::string(gguf_type_name(26)) == "I32");
  CHECK(gguf_type_name(133) == nullptr);
  CHECK(gguf_type_name(0xffffffffu) == nullptr);
}

TEST_CASE("half precision converts exactly both ways", "[kernels][quant]") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = quant::half_to_float(half);
    if ((bits & 0x7c00) == 0x7c00) {
      const bool is_nan = (bits & 0x3ff) != 0;
      wrong += is_nan ? !std::isnan(value) : !std::isinf(value);
      wrong += is_nan ? !std::isnan(quant::half_to_float(quant::float_to_half(value)))
                      : quant::float_to_half(value) != half;
      continue;
    }
    const uint8_t bytes[2] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
    wrong += static_cast<double>(value) != half_at(bytes);
    wrong += quant::float_to_half(value) != half;
  }
  CHECK(wrong == 0);
  CHECK(quant::float_to_half(65519.9f) == 0x7bff);
  CHECK(quant::float_to_half(65520.0f) == 0x7c00);
  CHECK(quant::float_to_half(0x1p-25f) == 0);  // tie to even
  CHECK(quant::float_to_half(0x1.000002p-25f) == 1);
  CHECK(quant::float_to_half(1.0f + 0x1p-11f) == 0x3c00);  // tie to even
  CHECK(quant::float_to_half(1.0f + 0x1.8p-10f) == 0x3c02);
}

}  // namespace qwend
