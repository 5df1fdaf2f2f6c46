// Products of many rows against double precision: weights, outputs and what is compared.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_boxed.h"
#include "tests/cuda/cuda_test.h"
#include "tests/kernels/random_weights.h"

#define NEEDS_BOXED_PRODUCTS()                                   \
  NEEDS_CUDA_DEVICE();                                           \
  if (!has_boxed_products()) {                                   \
    WARN("skipped: boxed products need compute capability 9.0"); \
    return;                                                      \
  }

namespace qwend::test {

using namespace qwend::cuda;

inline std::unique_ptr<CudaMatrix> upload(std::span<const HostMatrix> parts) {
  WeightUploader uploader(nullptr);
  auto matrix = uploader.upload(parts);
  uploader.wait();
  return matrix;
}

// The rows of one or several parts, as FP16 or FP32 holds them.
struct HostWeights {
  int64_t cols;
  std::vector<double> values;

  HostWeights(std::span<const RandomWeights> parts) : cols(parts[0].matrix().cols) {
    for (const RandomWeights& part : parts) {
      for (const float x : part.dequantized()) values.push_back(static_cast<double>(x));
    }
  }
  int64_t rows() const { return static_cast<int64_t>(values.size()) / cols; }
  double product(const TestRows& in, int32_t t, int64_t row, bool scaled = true) const {
    double sum = 0.0;
    for (int64_t k = 0; k < cols; ++k)
      sum += values[static_cast<size_t>(row * cols + k)] * in.value(t, k, scaled);
    return sum;
  }
};

inline std::vector<HostMatrix> views(std::span<const RandomWeights> parts) {
  std::vector<HostMatrix> list;
  for (const RandomWeights& part : parts) list.push_back(part.matrix());
  return list;
}

// Rows of the step that are compared: all of a few, some of many.
inline std::vector<int32_t> sample_rows(int32_t num_tokens) {
  std::set<int32_t> rows{0, num_tokens - 1};
  for (int32_t i = 0; i < 12; ++i) rows.insert(static_cast<int32_t>(int64_t{i} * 997 % num_tokens));
  return {rows.begin(), rows.end()};
}

struct Output {
  int64_t width, stride;
  std::vector<float> values;  // [T + 1, stride]: a row more than asked for
  std::vector<float> scale;   // SwiGLU: [T], values are FP16 times these

  float at(int32_t t, int64_t i) const { return values[static_cast<size_t>(t * stride + i)]; }
};

struct Run {
  Epilogue epilogue = Epilogue::Store;
  bool scaled = true;
  float before = std::numeric_limits<float>::quiet_NaN();
  int64_t extra_stride = 0;
};

// What `product(in, out)` writes, and leaves alone: SwiGLU rows of FP16 with their scales, else FP32.
template <class Product>
Output run_product(const CudaMatrix& w, const TestRows& in, int32_t num_tokens, const Run& how,
                   Product product) {
  const bool gated = how.epilogue == Epilogue::SwiGlu;
  Output out;
  out.width = gated ? w.rows() / 2 : w.rows();
  out.stride = out.width + how.extra_stride;
  const auto size = static_cast<size_t>((num_tokens + 1) * out.stride);
  const auto data = to_device(std::vector<float>(gated ? 0 : size, how.before));
  const auto halves = to_device(std::vector<__half>(gated ? size : 0, to_half(how.before)));
  const auto scale = poisoned<float>(gated ? static_cast<size_t>(num_tokens) : 0);
  MatmulOut to{data.data(), out.stride};
  if (gated) to = {.half = {.rows = halves.data(), .scale = scale.data(), .stride = out.stride}};
  product(in.view(how.scaled), to);
  out.values = to_host(data);
  out.scale = to_host(scale);
  for (const __half h : to_host(halves)) {
    const size_t row = out.values.size() / static_cast<size_t>(out.stride);
    const float factor = row < out.scale.size() ? out.scale[row] : 1.0f;
    out.values.push_back(half_value(h) * factor);
  }
  return out;
}

// SwiGLU: scales that are no powers of two, and values beyond what they allow for.
inline int wrong_scales(const Output& out, int32_t num_tokens) {
  int wrong = 0, exponent = 0;
  for (int32_t t = 0; t < num_tokens; ++t) {
    const float scale = out.scale[static_cast<size_t>(t)];
    float largest = 0.0f;
    for (int64_t i = 0; i < out.width; ++i) largest = std::max(largest, std::abs(out.at(t, i)));
    wrong += !(std::frexp(scale, &exponent) == 0.5f && largest <= scale * 0x1p14f);
  }
  return wrong;
}

inline bool same_value(float a, float b) { return (std::isnan(a) && std::isnan(b)) || a == b; }

// What lies beyond the result is as it was.
inline int overwritten(const Output& out, int32_t num_tokens, float before) {
  int count = 0;
  for (int32_t t = 0; t <= num_tokens; ++t) {
    for (int64_t i = t < num_tokens ? out.width : 0; i < out.stride; ++i)
      count += !same_value(out.at(t, i), before);
  }
  return count;
}

// Largest ||got - expected|| / ||expected|| over the sampled rows.
template <class Expected>
double row_error(const Output& out, int32_t num_tokens, Expected expected) {
  double worst = 0.0;
  for (const int32_t t : sample_rows(num_tokens)) {
    double error = 0.0, power = 0.0;
    for (int64_t i = 0; i < out.width; ++i) {
      const double want = expected(t, i);
      error += std::pow(static_cast<double>(out.at(t, i)) - want, 2);
      power += want * want;
    }
    const double relative = std::sqrt(error / power);
    worst = std::isnan(relative) ? INFINITY : std::max(worst, relative);
  }
  return worst;
}

inline double silu(double x) { return x / (1.0 + std::exp(-x)); }

// FP16 weights and activations, in one plane or two, are multiplied exactly; other weights are rounded to
// FP16 first.
inline double tolerance(DType type) { return type == DType::F16 ? 2e-5 : 1e-3; }
// Gated ones are rounded to FP16 in the end, by 2^-11 of a value at most.
inline double gated_tolerance(double products) { return 2 * products + 0x1p-11; }

}  // namespace qwend::test
