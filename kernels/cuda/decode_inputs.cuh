// Where the values of a phase's input row come from: sources of fill() (decode_row.cuh).
#pragma once
#include "kernels/cuda/decode_line.cuh"
#include "kernels/cuda/decode_row.cuh"

namespace qwend::cuda::decode {

// Not to be put off by the compiler: what it fetches is wanted right after a wait.
__device__ __forceinline__ float load_early(const float* p) {
  float v;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(v) : "l"(p));
  return v;
}
__device__ __forceinline__ float4 load_early4(const float* p) {
  float4 v;
  asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p));
  return v;
}

// x += sums of a product; the row is x * norm, which its product's sums make RMSNorm when they are multiplied
// by 1 / sqrt(mean of squares + eps).
struct NormSource {
  float* x;  // [width], shared memory; each thread keeps its columns
  const float* norm;
  uint32_t width;
  const uint64_t* sums;  // nullptr: none yet
  uint32_t stride;
  int32_t slots;
  uint32_t number;

  __device__ __forceinline__ float4 load(uint32_t column, float& squares) const {
    const bool there = column < width;
    float4 w{};
    if (there) w = load_early4(norm + column);
    float2 v[1][2] = {};
    if (sums != nullptr) {  // small models have two slots: half of the instructions
      slots <= 2 ? receive_sums<2>(sums, {column / 2}, there, stride, slots, number, v)
                 : receive_sums<4>(sums, {column / 2}, there, stride, slots, number, v);
    }
    if (!there) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    auto* const own = reinterpret_cast<float4*>(x + column);
    const float4 before = *own;
    const float4 now = {before.x + v[0][0].x, before.y + v[0][0].y, before.z + v[0][1].x,
                        before.w + v[0][1].y};
    *own = now;
    squares = now.x * now.x + now.y * now.y + now.z * now.z + now.w * now.w;
    return {now.x * w.x, now.y * w.y, now.z * w.z, now.w * w.w};
  }
};

// silu(gate) * up.
struct HiddenSource {
  const uint64_t* sums;
  uint32_t width, stride;
  int32_t slots;
  uint32_t number;

  __device__ __forceinline__ float4 load(uint32_t column, float&) const {
    float2 v[2][2] = {};
    receive_sums<1>(sums, {column / 2, (column + width) / 2}, column < width, stride, slots, number, v);
    const float2 *const gate = v[0], *const up = v[1];
    return {silu(gate[0].x) * up[0].x, silu(gate[0].y) * up[0].y, silu(gate[1].x) * up[1].x,
            silu(gate[1].y) * up[1].y};
  }
};

}  // namespace qwend::cuda::decode
