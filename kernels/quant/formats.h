// Every weight format qwend reads: THE list. GGUF ids, decoding, CPU dispatch and the parity tests are
// instantiated from it, so a new format is one header and one entry here.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/quant/float_formats.h"
#include "kernels/quant/iq4_nl.h"
#include "kernels/quant/iq4_xs.h"
#include "kernels/quant/q2_k.h"
#include "kernels/quant/q3_k.h"
#include "kernels/quant/q4_0.h"
#include "kernels/quant/q4_1.h"
#include "kernels/quant/q4_k.h"
#include "kernels/quant/q5_0.h"
#include "kernels/quant/q5_1.h"
#include "kernels/quant/q5_k.h"
#include "kernels/quant/q6_k.h"
#include "kernels/quant/q8_0.h"
#include "kernels/tensor.h"

namespace qwend {

namespace quant {
template <class... F>
struct FormatList {
  // Calls visit.template operator()<F>() for each format of the list, in order.
  template <class Visit>
  static constexpr void for_each(Visit&& visit) {
    (visit.template operator()<F>(), ...);
  }
};
using FloatFormats = FormatList<F32, F16, BF16>;
using BlockFormats = FormatList<Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS>;
using AllFormats =
    FormatList<F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS>;
}  // namespace quant

struct FormatInfo {
  DType dtype;
  const char* name;
  uint32_t gguf_id;
  int32_t block_elements;
  int32_t block_bytes;
};

// The format with this GGUF type id, or nullptr if qwend can't read it.
const FormatInfo* format_by_gguf_id(uint32_t id);
// Name of any type id known to GGUF, readable or not ("IQ2_XXS"), for messages; nullptr if unknown.
const char* gguf_type_name(uint32_t id);
// Requires a weight format (not I32).
const FormatInfo& format_info(DType dtype);
// Bytes of `elements` consecutive elements. Requires elements % block_elements == 0.
size_t format_bytes(DType dtype, int64_t elements);

// dst[0..n) = the n elements stored at src. Requires n % block_elements == 0; src needs no alignment.
void dequantize(DType dtype, const void* src, float* dst, int64_t n);

}  // namespace qwend
