// What the CPU backend's handles (kernels/backend.h) hold.
#pragma once
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/matmul.h"

namespace qwend::cpu {

struct CpuMatrix : DeviceMatrix {
  explicit CpuMatrix(PackedMatrix m) : packed(std::move(m)) {}
  int64_t rows() const override { return packed.rows(); }
  int64_t cols() const override { return packed.cols(); }
  int64_t experts() const override { return packed.experts(); }
  size_t bytes() const override { return packed.bytes(); }
  PackedMatrix packed;
};

struct CpuVector : DeviceVector {
  explicit CpuVector(std::span<const float> v) : values(v.begin(), v.end()) {}
  int64_t size() const override { return static_cast<int64_t>(values.size()); }
  std::vector<float> values;
};

struct CpuActivation : DeviceActivation {
  CpuActivation(int64_t max_tokens, int64_t row_width) : buffer(max_tokens * row_width), width_(row_width) {}
  int64_t width() const override { return width_; }
  float* row(int64_t t) { return buffer.data() + t * width_; }
  const float* row(int64_t t) const { return buffer.data() + t * width_; }
  FloatBuffer buffer;

 private:
  int64_t width_;
};

inline const PackedMatrix& packed(const DeviceMatrix& m) { return static_cast<const CpuMatrix&>(m).packed; }
inline const float* values(const DeviceVector& v) { return static_cast<const CpuVector&>(v).values.data(); }
inline CpuActivation& activation(DeviceActivation& a) { return static_cast<CpuActivation&>(a); }
inline const CpuActivation& activation(const DeviceActivation& a) {
  return static_cast<const CpuActivation&>(a);
}

}  // namespace qwend::cpu
