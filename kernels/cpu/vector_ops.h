// Element-wise work on rows of floats, for the instruction set of the running CPU.
// All functions: n >= 0 of any size, no alignment needed, reduction order fixed by n alone. Reentrant.
#pragma once
#include <cstdint>

namespace qwend::cpu {

struct VectorOps {
  const char* name;  // instruction set
  // out = weight * x / sqrt(mean(x^2) + eps); out may be x
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  // out = silu(gate) * up; out may be gate or up
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  // NeoX rotation of one head: pairs (x[i], x[i + half]) by the angles with these cosines and sines [half]
  void (*rotate)(float* x, const float* cosines, const float* sines, int64_t half);
  void (*add)(const float* y, int64_t n, float* x);                  // x += y
  void (*add_scaled)(const float* y, float a, int64_t n, float* x);  // x += a y
  void (*to_half)(const float* x, int64_t n, uint16_t* out);         // beyond F16's range: its largest value
  float (*dot)(const float* x, const float* y, int64_t n);
  // Largest element, -inf for none; NaN are passed over.
  float (*max)(const float* x, int64_t n);
  // out = x with NaN as -inf and nothing above the largest float; returns the largest, -inf for none. out may
  // be x.
  float (*finite)(const float* x, int64_t n, float* out);
  // Bit i: x[i] >= least (never for NaN). n: at most 64.
  uint64_t (*at_least)(const float* x, float least, int64_t n);
  // out = e^(scale * (x - shift)), returns the sum in double; out may be x, or null for the sum alone.
  // NaN in x give 0.
  double (*exp_sum)(const float* x, float shift, float scale, int64_t n, float* out);
};

const VectorOps& vector_ops();           // the best of this CPU
const VectorOps& portable_vector_ops();  // plain C++
const VectorOps& avx2_vector_ops();      // only where the CPU has them
const VectorOps& avx512_vector_ops();

}  // namespace qwend::cpu
