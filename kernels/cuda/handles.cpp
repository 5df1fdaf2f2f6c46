#include "kernels/cuda/handles.h"

#include <algorithm>
#include <cmath>

namespace qwend::cuda {

CudaVector::CudaVector(std::span<const float> v) : memory(v.size()), largest(0.0f) {
  copy_to_device(memory.data(), v.data(), memory.bytes());
  for (const float x : v) largest = std::max(largest, std::abs(x));
}

HalfBuffer::HalfBuffer(int64_t num_rows, int64_t width, Planes planes)
    : rows(DeviceBuffer<__half>::zeroed(static_cast<size_t>(num_rows * padded_width(width)) *
                                        (planes == Planes::Two ? 2 : 1))),
      scale(DeviceBuffer<float>::zeroed(static_cast<size_t>(num_rows))),
      plane(num_rows * padded_width(width)),
      stride(padded_width(width)) {}

CudaActivation::CudaActivation(int64_t max_tokens, int64_t row_width)
    : values(DeviceBuffer<float>::zeroed(static_cast<size_t>(max_tokens * row_width))),
      half(max_tokens, row_width),
      width_(row_width) {}

}  // namespace qwend::cuda
