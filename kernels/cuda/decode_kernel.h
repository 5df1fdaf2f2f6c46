// The kernel of a decode program, as its host side sees it.
#pragma once
#include "kernels/cuda/decode_program.h"

namespace qwend::cuda::decode {

struct Launch {
  const DecodeTable& table;
  const DeviceStep& step;
  const float2* rope;
  float* logits;
  uint32_t layers_run;  // layer l of this launch has the number layers_run + l + 1
  int32_t ctas;
  cudaStream_t stream;
};

// Whether a CTA's shared memory holds what the table asks for.
bool fits(const DecodeTable& table);
// Throws CudaError.
void launch(const Launch& launch);

}  // namespace qwend::cuda::decode
