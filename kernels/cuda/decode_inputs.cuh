// The input row of a phase: every CTA makes it for itself from what other CTAs send, as two FP16 planes in
// shared memory. Loops are rolled on purpose: a phase of a small model is over before long code has been
// fetched.
#pragma once
#include "kernels/cuda/decode_line.cuh"
#include "kernels/cuda/decode_stream.cuh"
#include "kernels/cuda/row_math.cuh"

namespace qwend::cuda::decode {

struct InputMemory {
  __half* planes;  // high, then low: [2][stride]
  int32_t stride;
  __half* totals;   // [256 columns][kTotalsOfStretch]
  float* scale;     // what sums are multiplied by
  float2* reduced;  // [kWarps]
  float* staged;    // values on the way
};

// Columns first .. last, four to a thread in turn; a warp's threads stay together.
template <class Body>
__device__ __forceinline__ void for_columns(int32_t first, int32_t last, const Body& body) {
#pragma unroll 1
  for (int32_t warp = first + 4 * kWarp * warp_index(); warp < last; warp += 4 * kThreads) {
    const int32_t column = warp + 4 * lane_index();
    body(column, column < last);
  }
}

// Fills the planes with columns begin .. end of load(column, squares): all of first .. last are loaded, and
// `squares` takes what finish(squares) needs, the factor that sums get.
template <class Load, class Finish>
__device__ __forceinline__ void fill_planes(const InputMemory& memory, int32_t first, int32_t last,
                                            int32_t begin, int32_t end, const Load& load,
                                            const Finish& finish) {
  float squares = 0.0f;
  uint32_t largest = 0;
  for_columns(first, last, [&](int32_t column, bool there) {
    if (!there) return;
    const float4 v = load(column, squares);
    largest = max(largest, magnitude_bits(v));
    *reinterpret_cast<float4*>(memory.staged + column - first) = v;  // read back by the same thread
  });
  squares = lanes_sum(squares);
  largest = __reduce_max_sync(kAllLanes, largest);
  if (lane_index() == 0) memory.reduced[warp_index()] = make_float2(squares, __uint_as_float(largest));
  __syncthreads();
  squares = 0.0f, largest = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const float2 r = memory.reduced[w];
    squares += r.x;
    largest = max(largest, __float_as_uint(r.y));
  }
  const float scale = row_scale(__uint_as_float(largest)), inverse = 1.0f / scale;
  if (threadIdx.x == 0) *memory.scale = scale * finish(squares);
  for_columns(first, last, [&](int32_t column, bool there) {
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (there) x = *reinterpret_cast<const float4*>(memory.staged + column - first);
    // Eight lanes hold 32 columns: stretches begin at multiples of 64.
    const float total = lanes_sum<8>(((x.x + x.y) + (x.z + x.w)) * inverse);
    if (!there || column < begin || column >= end) return;
    const int32_t at = column - begin;
    const uint2 high = to_half4(x, inverse);
    *reinterpret_cast<uint2*>(memory.planes + at) = high;
    *reinterpret_cast<uint2*>(memory.planes + memory.stride + at) = rest_half4(x, inverse, high);
    if (lane_index() % 8 == 0) {
      const SplitHalf parts = split_half(total);
      __half* const totals = memory.totals + at / 256 * kTotalsOfStretch + at / 32 % 8;
      totals[0] = parts.high, totals[8] = parts.low;
    }
  });
  __syncthreads();
}

// Four columns' sums of a product.
__device__ __forceinline__ float4 receive4(const DecodeLine* sums, const DecodeMatmul& m, int32_t column,
                                           uint32_t layer) {
  float2 v[2] = {};
  receive_sums(sums + column / 2, m.rows / 2, 1, m.slots, layer, v);
  return {v[0].x, v[0].y, v[1].x, v[1].y};
}

// Four columns of silu(gate) * up.
__device__ __forceinline__ float4 receive_swiglu4(const DecodeTable& table, int32_t column, uint32_t layer) {
  const DecodeMatmul& m = table.gate_up;
  float2 v[4] = {};
  receive_sums(table.gate_up_sums + column / 2, m.rows / 2, table.ffn / 2, m.slots, layer, v);
  return {silu(v[0].x) * v[2].x, silu(v[0].y) * v[2].y, silu(v[1].x) * v[3].x, silu(v[1].y) * v[3].y};
}

// Columns column .. + 3 of the attention's output: its splits joined, as their maxima weigh them.
template <int kHeadDim>
__device__ __forceinline__ float4 join_splits4(const DecodeTable& table, int32_t splits, int32_t column,
                                               uint32_t layer) {
  constexpr int kBatch = kHeadDim <= 64 ? 8 : 4;  // registers
  constexpr int32_t head_dim = kHeadDim;
  const int32_t head = column / head_dim;
  const DecodeLine* sums = table.split_sums + head * table.max_splits;
  const DecodeLine* outs =
      table.split_out + (int64_t{head} * table.max_splits * head_dim + column % head_dim) / 2;
  float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float maximum = -INFINITY, sum = 0.0f;
#pragma unroll 1
  for (int32_t left = splits; left > 0; left -= kBatch, sums += kBatch, outs += kBatch * head_dim / 2) {
    Seen part[kBatch], low[kBatch], high[kBatch];
    bool there;
    do {
      there = true;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int32_t s = min(b, left - 1);  // past the end: the last one again
        part[b] = look(sums + s), low[b] = look(outs + s * head_dim / 2),
        high[b] = look(outs + s * head_dim / 2 + 1);
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) there &= part[b].of(layer) && low[b].of(layer) && high[b].of(layer);
    } while (!there);
    float top = maximum;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) top = fmaxf(top, part[b].values().x);
    const float keep = exp2_fast(maximum - top);
    maximum = top;
    sum *= keep, out.x *= keep, out.y *= keep, out.z *= keep, out.w *= keep;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const float weight = b < left ? exp2_fast(part[b].values().x - top) : 0.0f;
      sum += part[b].values().y * weight;
      out.x += low[b].values().x * weight, out.y += low[b].values().y * weight;
      out.z += high[b].values().x * weight, out.w += high[b].values().y * weight;
    }
  }
  const float inverse = 1.0f / sum;
  return {out.x * inverse, out.y * inverse, out.z * inverse, out.w * inverse};
}

}  // namespace qwend::cuda::decode
