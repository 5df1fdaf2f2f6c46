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

// The attention's output: its splits joined, as their maxima weigh them.
template <int kHeadDim>
struct JoinedSource {
  const DecodeTable& table;
  int32_t splits;
  uint32_t number;

  // All lanes; 16 of them are of one head. What the splits weigh is waited for first, a lane a split: all
  // outputs in every look would keep L2 from those that make them.
  __device__ __forceinline__ float4 load(uint32_t column, float&) const {
    constexpr int kLanes = 16, kBatch = 8;
    constexpr uint32_t kPairs = kHeadDim / 2;
    const uint32_t heads = static_cast<uint32_t>(table.attention.num_heads);
    const uint32_t head = min(column / kHeadDim, heads - 1);  // beyond: any
    const uint32_t row = head * static_cast<uint32_t>(table.max_splits);
    const uint64_t* const weights = table.split_sums + row;
    const uint64_t* const outs = table.split_out + (row * kPairs + column % kHeadDim / 2);
    const int lane = lane_index();
    float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float maximum = -INFINITY, sum = 0.0f;
#pragma unroll 1
    for (int32_t first = 0; first < splits; first += kLanes) {
      const int32_t own = first + lane % kLanes;
      const float2 part = await(weights + own, own < splits);
      const float top = fmaxf(maximum, lanes_max<kLanes>(part.x));
      const float weight = exp2_fast(part.x - top);
      weigh(exp2_fast(maximum - top), out, sum);
      sum += lanes_sum<kLanes>(part.y * weight);
      maximum = top;
      const int32_t count = min(kLanes, splits - first);
#pragma unroll 1
      for (int32_t at = 0; at < count; at += kBatch) {
        float4 x[kBatch];
        receive(outs + static_cast<uint32_t>(first + at) * kPairs, count - at, x);
#pragma unroll
        for (int b = 0; b < kBatch; ++b) {
          const float w = __shfl_sync(kAllLanes, weight, lane / kLanes * kLanes + at + b);
          out.x += x[b].x * w, out.y += x[b].y * w, out.z += x[b].z * w, out.w += x[b].w * w;
        }
      }
    }
    weigh(__fdividef(1.0f, sum), out, sum);
    return out;
  }

 private:
  // All lanes: what the splits weigh; of those that don't exist nothing.
  __device__ __forceinline__ float2 await(const uint64_t* at, bool wanted) const {
    Pair seen[1] = {Pair::none(number)};
    do {
      if (wanted && !seen[0].of(number)) look(at, seen);
    } while (__any_sync(kAllLanes, wanted && !seen[0].of(number)));
    return wanted ? seen[0].values() : make_float2(-INFINITY, 0.0f);
  }
  // Four values of each of up to kBatch splits, zeros beyond.
  template <int kBatch>
  __device__ __forceinline__ void receive(const uint64_t* outs, int32_t count, float4 (&x)[kBatch]) const {
    constexpr uint32_t kPairs = kHeadDim / 2;
    Pair seen[kBatch][2];
#pragma unroll
    for (auto& pairs : seen) pairs[0] = pairs[1] = Pair::none(number);
    const auto missing = [&](int b) {
      return b < count && !(seen[b][0].of(number) && seen[b][1].of(number));
    };
    bool any;
    do {
      any = false;
#pragma unroll
      for (int b = 0; b < kBatch; ++b)
        if (missing(b)) look(outs + static_cast<uint32_t>(b) * kPairs, seen[b]);
#pragma unroll
      for (int b = 0; b < kBatch; ++b) any |= missing(b);
    } while (__any_sync(kAllLanes, any));
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const float2 low = seen[b][0].values(), high = seen[b][1].values();
      x[b] = make_float4(low.x, low.y, high.x, high.y);
    }
  }
  __device__ __forceinline__ static void weigh(float weight, float4& out, float& sum) {
    out.x *= weight, out.y *= weight, out.z *= weight, out.w *= weight;
    sum *= weight;
  }
};

}  // namespace qwend::cuda::decode
