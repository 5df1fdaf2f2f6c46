// FP32 values as one or two halves.
#pragma once
#include <cuda_fp16.h>

namespace qwend::cuda {

// Infinity never: the largest finite value stands in. NaN stays NaN.
__host__ __device__ inline __half half_saturated(float x) {
  x = x > 65504.0f ? 65504.0f : x;
  x = x < -65504.0f ? -65504.0f : x;
  return __float2half_rn(x);
}

// high + low is x to 2^-22 of it, or to 2^-25 where that is more; the last finite value is 131008.
struct SplitHalf {
  __half high, low;
  __host__ __device__ float value() const { return __half2float(high) + __half2float(low); }
};
__host__ __device__ inline SplitHalf split_half(float x) {
  const __half high = half_saturated(x);
  return {high, half_saturated(x - __half2float(high))};
}

}  // namespace qwend::cuda
