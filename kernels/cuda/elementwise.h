// The small kernels between products: embedding, RMSNorm, rounding to FP16.
#pragma once
#include <cstdint>

#include "kernels/cuda/activations.h"
#include "kernels/cuda/step.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

// Widest row that rms_norm takes: it lives in one block's registers.
inline constexpr int64_t kMaxNormWidth = 16384;

// ids[t] = tokens[t], or what the step before drew in row token_rows[t]
void resolve_tokens(const DeviceStep& step, const int32_t* drawn, int32_t* ids, cudaStream_t stream);

// Sums that rows are yet to be added: x[t] += scale[t] * data[t], [T, stride], stride a multiple of 4.
struct Addend {
  const float* data = nullptr;
  int64_t stride = 0;
  const float* scale = nullptr;  // [T]
};

// out[i] = RMSNorm(x[index ? index[i] : i]; weight) as FP16 rows with their scales (activations.h). The order
// of the sum of squares depends on the width alone: a row's bits are the same whatever its company.
// With an addend x is first added to, and written: in the same pass; then there is no index, and the width a
// multiple of 4.
void rms_norm(float* x, int64_t width, const int32_t* index, int32_t num_rows, const float* weight, float eps,
              const HalfRowsOut& out, cudaStream_t stream, const Addend& addend = {});

// x [T, width] FP32 to FP16 rows with scales. row_max: the rows' largest magnitudes as bits where the
// producer knows them, else nullptr and they are found here.
void round_rows(const float* x, int64_t width, int32_t num_rows, const uint32_t* row_max,
                const HalfRowsOut& out, cudaStream_t stream);
// The way back, for inspection: dst [num_rows, width].
void widen_rows(const HalfRows& in, int64_t width, int32_t num_rows, float* dst, cudaStream_t stream);

}  // namespace qwend::cuda
