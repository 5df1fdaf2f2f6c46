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
    if (column >= width) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float4 w = load_early4(norm + column);
    float2 v[1][2] = {};
    if (sums != nullptr) receive_sums<4>(sums, {column / 2}, stride, slots, number, v);
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
    if (column >= width) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float2 v[2][2] = {};
    receive_sums<2>(sums, {column / 2, (column + width) / 2}, stride, slots, number, v);
    const float2 *const gate = v[0], *const up = v[1];
    return {silu(gate[0].x) * up[0].x, silu(gate[0].y) * up[0].y, silu(gate[1].x) * up[1].x,
            silu(gate[1].y) * up[1].y};
  }
};

// The attention's output: its splits joined, as their maxima weigh them. The two halves of a warp take every
// other split of the same columns.
template <int kHeadDim>
struct JoinedSource {
  const DecodeTable& table;
  int32_t splits;
  uint32_t number;

  // Columns column .. + 3, the same in lanes l and l + 16; all lanes.
  __device__ __forceinline__ float4 load(uint32_t column) const {
    constexpr int kBatch = 4;  // registers
    constexpr uint32_t kLines = kHeadDim / 2;
    const uint32_t head = column / kHeadDim, row = head * static_cast<uint32_t>(table.max_splits);
    const DecodeLine* const sums = table.split_sums + row;
    const DecodeLine* const outs = table.split_out + (row * kLines + column % kHeadDim / 2);
    float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float maximum = -INFINITY, sum = 0.0f;
#pragma unroll 1
    for (int32_t first = lane_index() / 16; first < splits; first += 2 * kBatch) {
      const DecodeLine *part_at[kBatch], *out_at[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {  // past the end: its first one again
        const auto s = static_cast<uint32_t>(first + 2 * b < splits ? first + 2 * b : first);
        part_at[b] = sums + s, out_at[b] = outs + s * kLines;
      }
      Seen part[kBatch] = {}, low[kBatch] = {}, high[kBatch] = {};
      bool there;
      do {
        there = true;
#pragma unroll
        for (int b = 0; b < kBatch; ++b) {
          if (!part[b].of(number)) part[b] = look(part_at[b]);
          if (!low[b].of(number)) low[b] = look(out_at[b]);
          if (!high[b].of(number)) high[b] = look(out_at[b] + 1);
        }
#pragma unroll
        for (int b = 0; b < kBatch; ++b)
          there &= part[b].of(number) && low[b].of(number) && high[b].of(number);
      } while (!there);
      float top = maximum;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) top = fmaxf(top, part[b].values().x);
      weigh(exp2_fast(maximum - top), out, sum);
      maximum = top;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const float weight = first + 2 * b < splits ? exp2_fast(part[b].values().x - top) : 0.0f;
        const float2 x = low[b].values(), y = high[b].values();
        sum += part[b].values().y * weight;
        out.x += x.x * weight, out.y += x.y * weight, out.z += y.x * weight, out.w += y.y * weight;
      }
    }
    __syncwarp();
    // With one split the second half has none: its weight is 0.
    const float top = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, 16));
    weigh(exp2_fast(maximum - top), out, sum);
    for (float* const v : {&out.x, &out.y, &out.z, &out.w, &sum}) *v += __shfl_xor_sync(kAllLanes, *v, 16);
    weigh(__fdividef(1.0f, sum), out, sum);
    return out;
  }

 private:
  __device__ __forceinline__ static void weigh(float weight, float4& out, float& sum) {
    out.x *= weight, out.y *= weight, out.z *= weight, out.w *= weight;
    sum *= weight;
  }
};

}  // namespace qwend::cuda::decode
