// What the model holds of this backend: vectors and activations in device memory.
#pragma once
#include <cstdint>
#include <span>

#include "kernels/backend.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

struct CudaVector : DeviceVector {
  explicit CudaVector(std::span<const float> values);
  int64_t size() const override { return static_cast<int64_t>(memory.size()); }
  DeviceBuffer<float> memory;
  float largest;  // magnitude
};

enum class Planes : uint8_t { One, Two };  // of FP16 rows (activations.h)

// FP16 rows with their scales, and room for `rows` of them.
struct HalfBuffer {
  HalfBuffer() = default;
  HalfBuffer(int64_t rows, int64_t width, Planes planes = Planes::One);
  HalfRowsOut out() { return {rows.data(), scale.data(), stride, low()}; }
  HalfRows in() const { return {rows.data(), scale.data(), stride, low()}; }
  __half* low() const { return static_cast<int64_t>(rows.size()) > plane ? rows.data() + plane : nullptr; }
  DeviceBuffer<__half> rows;  // the second plane behind the first
  DeviceBuffer<float> scale;
  int64_t plane = 0, stride = 0;  // elements of a plane, of a row
};

// Rows as FP32 values, as FP16 rows ready for a product, or both.
struct CudaActivation : DeviceActivation {
  CudaActivation(int64_t max_tokens, int64_t row_width);
  int64_t width() const override { return width_; }
  DeviceBuffer<float> values;  // [max_tokens, width]
  HalfBuffer half;
  bool has_values = false, has_half = false;
  bool scaled = true;  // false: the FP16 rows are the values themselves, half.scale counts for nothing

 private:
  int64_t width_;
};

// What a handle of this backend is.
inline const CudaMatrix& weights(const DeviceMatrix& m) { return static_cast<const CudaMatrix&>(m); }
inline const CudaVector& vector(const DeviceVector& v) { return static_cast<const CudaVector&>(v); }
inline const float* values(const DeviceVector& v) { return vector(v).memory.data(); }
inline const float* values_or_null(const DeviceVector* v) { return v != nullptr ? values(*v) : nullptr; }
inline CudaActivation& activation(DeviceActivation& a) { return static_cast<CudaActivation&>(a); }
inline const CudaActivation& activation(const DeviceActivation& a) {
  return static_cast<const CudaActivation&>(a);
}
inline KvLayer layer_of(const DeviceKvCache& kv, int32_t layer) {
  return static_cast<const CudaKvCache&>(kv).layer(layer);
}

}  // namespace qwend::cuda
