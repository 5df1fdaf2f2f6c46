// For tests on a CUDA device: skipping, and memory on the way there and back.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "kernels/cuda/activations.h"
#include "kernels/cuda/resources.h"
#include "kernels/quant/half.h"
#include "tests/support/catch2.h"

// First statement of every test here: ends the test, visibly, on a machine without a device.
#define NEEDS_CUDA_DEVICE()             \
  do {                                  \
    if (!qwend::test::device_found()) { \
      WARN("skipped: no CUDA device");  \
      return;                           \
    }                                   \
  } while (false)

namespace qwend::test {

inline bool device_found() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

template <class T>
cuda::DeviceBuffer<T> to_device(std::span<const T> values) {
  cuda::DeviceBuffer<T> buffer(values.size());
  cuda::copy_to_device(buffer.data(), values.data(), values.size_bytes());
  return buffer;
}
template <class T>
cuda::DeviceBuffer<T> to_device(const std::vector<T>& values) {
  return to_device(std::span<const T>(values));
}

// What was written before by any kernel of the device.
template <class T>
std::vector<T> to_host(const cuda::DeviceBuffer<T>& buffer) {
  std::vector<T> values(buffer.size());
  CUDA_CHECK(cudaDeviceSynchronize());
  CUDA_CHECK(cudaMemcpy(values.data(), buffer.data(), buffer.bytes(), cudaMemcpyDeviceToHost));
  return values;
}

// All bits set: NaN as FP32 and as FP16, -1 as an integer.
template <class T>
cuda::DeviceBuffer<T> poisoned(size_t size) {
  cuda::DeviceBuffer<T> buffer(size);
  if (size > 0) CUDA_CHECK(cudaMemset(buffer.data(), 0xff, buffer.bytes()));
  return buffer;
}
template <class T>
bool is_poison(const T& value) {
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, static_cast<const void*>(&value), sizeof(T));
  for (const unsigned char byte : bytes) {
    if (byte != 0xff) return false;
  }
  return true;
}

template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && std::memcmp(static_cast<const void*>(a.data()),
                                             static_cast<const void*>(b.data()), a.size_bytes()) == 0;
}

inline std::vector<float> normal_values(size_t count, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& x : values) x = normal(random);
  return values;
}

inline float half_value(__half h) { return quant::half_to_float(static_cast<__half_raw>(h).x); }
inline __half to_half(float x) { return __half(__half_raw{quant::float_to_half(x)}); }

// FP16 rows on the device with what they stand for.
struct TestRows {
  int64_t width, stride;
  std::vector<__half> host;         // [T, stride], zeros beyond the width
  std::vector<__half> host_low;     // the second plane; empty: none
  std::vector<float> scale;         // [T]
  cuda::DeviceBuffer<__half> rows;  // room for 8 rows more, zeroed
  cuda::DeviceBuffer<__half> low;
  cuda::DeviceBuffer<float> scales, norms, unscaled_norms;

  // Rows of normal values; row t is scaled by 2^(exponents[t % size]).
  TestRows(int32_t tokens, int64_t row_width, uint32_t seed, std::vector<int> exponents = {-11},
           bool two_planes = false)
      : width(row_width), stride(cuda::padded_width(row_width)) {
    const std::vector<float> values = normal_values(static_cast<size_t>(tokens * width), seed, 2048.0f);
    host.assign(static_cast<size_t>((tokens + 8) * stride), to_half(0.0f));
    if (two_planes) host_low = host;
    for (int32_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < width; ++i) {
        const float x = values[static_cast<size_t>(t * width + i)];
        const auto at = static_cast<size_t>(t * stride + i);
        host[at] = to_half(x);
        if (two_planes) host_low[at] = to_half(x - half_value(host[at]));
      }
      scale.push_back(std::ldexp(1.0f, exponents[static_cast<size_t>(t) % exponents.size()]));
    }
    rows = to_device(host);
    if (two_planes) low = to_device(host_low);
    scales = to_device(scale);
    norms = to_device(row_norms(true)), unscaled_norms = to_device(row_norms(false));
  }
  cuda::HalfRows view(bool scaled = true) const {
    return {rows.data(), scaled ? scales.data() : nullptr, stride, low.data(),
            scaled ? norms.data() : unscaled_norms.data()};
  }
  std::vector<float> row_norms(bool scaled) const {
    std::vector<float> list;
    for (int32_t t = 0; t < static_cast<int32_t>(scale.size()); ++t) {
      double squares = 0.0;
      for (int64_t i = 0; i < width; ++i) squares += value(t, i, scaled) * value(t, i, scaled);
      list.push_back(static_cast<float>(std::sqrt(squares)));
    }
    return list;
  }
  double value(int32_t t, int64_t i, bool scaled = true) const {
    const auto at = static_cast<size_t>(t * stride + i);
    const double x = static_cast<double>(half_value(host[at])) +
                     (host_low.empty() ? 0.0 : static_cast<double>(half_value(host_low[at])));
    return x * (scaled ? static_cast<double>(scale[static_cast<size_t>(t)]) : 1.0);
  }
};

}  // namespace qwend::test
