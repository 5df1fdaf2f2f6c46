// The kernel of a decode program, as its host side sees it.
#pragma once
#include "kernels/cuda/decode_program.h"
#include "kernels/quant/formats.h"

namespace qwend::cuda::decode {

struct Launch {
  const DecodeTable& table;
  const Layout& layout;
  uint32_t formats;  // of all matrices: bit DType
  const DeviceStep& step;
  const float2* rope;
  float* logits;
  uint32_t layers_run;  // layer l of this launch has the number layers_run + l + 1
  int32_t ctas;
  cudaStream_t stream;
};

// Throws CudaError.
void launch(const Launch& launch);

// The same for sets of block formats; FP16 matrices are served by all.
using NoBlocks = quant::FormatList<>;
using EightBit = quant::FormatList<quant::Q8_0>;
using Mixes = quant::FormatList<quant::Q8_0, quant::Q5_0, quant::Q4_K, quant::Q5_K, quant::Q6_K>;
void launch_half(const Launch& launch);
void launch_eight_bit(const Launch& launch);
void launch_mixes(const Launch& launch);
void launch_any(const Launch& launch);

}  // namespace qwend::cuda::decode
