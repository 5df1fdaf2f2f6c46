// The input row of attention's output: its splits joined, as their maxima weigh them.
//
// Joined by every CTA for itself, splits were up to 114 KB a CTA. So a warp of some CTA makes each group of
// 32 columns, once, and sends it to all; every CTA copies its stretch of columns into shared memory. That is
// another way through L2, and yet 0.5B Q8_0 goes from 2,306 to 2,399 tokens/s, 7B Q4_K_M with 16,256 tokens
// of context from 387 to 397. (Rows of SwiGLU and of norms made so: 7B 0% and +1%, 0.5B -2% and -9%.)
//
// Groups travel in words of 8 bytes. Each has the lowest bit of the layer's number as its own: what a place
// held before is the layer before's.
#pragma once
#include "kernels/cuda/decode_line.cuh"
#include "kernels/cuda/decode_row.cuh"

namespace qwend::cuda::decode {

// ---- words on their way

__device__ __forceinline__ uint64_t tagged(uint32_t high, uint32_t low, uint32_t bit) {
  return uint64_t{high} << 32 | (low & ~1u) | bit;
}
__device__ __forceinline__ uint64_t tagged(float high, float low, uint32_t bit) {
  return tagged(__float_as_uint(high), __float_as_uint(low), bit);
}
__device__ __forceinline__ uint32_t low_word(uint64_t word) { return static_cast<uint32_t>(word) & ~1u; }
__device__ __forceinline__ uint32_t high_word(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
__device__ __forceinline__ void send_words(uint64_t* to, uint64_t first, uint64_t second) {
  asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(to), "l"(first), "l"(second) : "memory");
}
__device__ __forceinline__ void look_at_words(const uint64_t* at, uint64_t (&words)[2]) {
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];"
               : "=l"(words[0]), "=l"(words[1])
               : "l"(at)
               : "memory");
}

// ---- makers

// What the splits of a head leave, joined: columns 4 (lane % 8) .. + 3 of a group, the same in four lanes.
// Each eight lanes take every fourth split, kBatch of them with one look. All lanes.
template <int kHeadDim>
__device__ __forceinline__ float4 joined_columns(const DecodeTable& table, uint32_t group, int32_t splits,
                                                 uint32_t number) {
  constexpr int kBatch = 4, kParts = 4;
  constexpr uint32_t kPairs = kHeadDim / 2;
  const uint32_t column = group * kRowGroup + threadIdx.x % 8 * 4, part = threadIdx.x % kWarp / 8;
  const uint32_t heads = static_cast<uint32_t>(table.attention.num_heads);
  const uint32_t head = min(column / kHeadDim, heads - 1);  // beyond, what pads the row: any
  const uint32_t row = head * static_cast<uint32_t>(table.max_splits);
  const uint64_t* const weights = table.split_sums + row;
  const uint64_t* const outs = table.split_out + (row * kPairs + column % kHeadDim / 2);
  float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float maximum = -INFINITY, sum = 0.0f;
  const auto scale = [&](float by) { out.x *= by, out.y *= by, out.z *= by, out.w *= by, sum *= by; };
#pragma unroll 1
  for (int32_t first = 0; first < splits; first += kBatch * kParts) {
    Pair seen[kBatch][2], weight[kBatch][1];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) seen[b][0] = seen[b][1] = weight[b][0] = Pair::none(number);
    const auto split_of = [&](int b) { return first + static_cast<int32_t>(part) + b * kParts; };
    const auto missing = [&](int b) {
      return split_of(b) < splits &&
             !(seen[b][0].of(number) && seen[b][1].of(number) && weight[b][0].of(number));
    };
    bool any;
    do {
      any = false;
#pragma unroll
      for (int b = 0; b < kBatch; ++b)
        if (missing(b)) {
          look(outs + static_cast<uint32_t>(split_of(b)) * kPairs, seen[b]);
          look(weights + split_of(b), weight[b]);
        }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) any |= missing(b);
    } while (__any_sync(kAllLanes, any));
    float top = maximum;
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (split_of(b) < splits) top = fmaxf(top, weight[b][0].values().x);
    scale(maximum == top ? 1.0f : exp2_fast(maximum - top));  // lanes without a split so far: -inf both
    maximum = top;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const float2 of = weight[b][0].values(), low = seen[b][0].values(), high = seen[b][1].values();
      const float w = split_of(b) < splits ? exp2_fast(of.x - top) : 0.0f;
      sum += of.y * w;
      out.x += low.x * w, out.y += low.y * w, out.z += high.x * w, out.w += high.y * w;
    }
  }
  float top = maximum;
#pragma unroll
  for (int distance = 8; distance <= 16; distance *= 2)
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, distance));
  scale(exp2_fast(maximum - top));  // 0 of lanes without splits
#pragma unroll
  for (int distance = 8; distance <= 16; distance *= 2) {
    for (float* const v : {&out.x, &out.y, &out.z, &out.w, &sum})
      *v += __shfl_xor_sync(kAllLanes, *v, distance);
  }
  scale(__fdividef(1.0f, sum));
  return out;
}

// A group that each eight lanes of a warp hold to the copy of the row that is theirs.
__device__ __forceinline__ void send_group(const RowPlaces& to, uint8_t parts, uint32_t group,
                                           const float4& x, uint32_t bit) {
  static_assert(kRowCopies == kWarp / 8);
  const uint32_t lane = threadIdx.x % 8, copy = threadIdx.x % kWarp / 8 * to.step;
  const float largest = __uint_as_float(group_largest(x));
  if ((parts & kRowBytes) != 0) {
    const ByteColumns own = byte_columns<true>(x, largest);
    const uint64_t word = tagged(own.high, own.low, bit), next = __shfl_down_sync(kAllLanes, word, 1);
    if (lane % 2 == 0) send_words(to.bytes + (copy + group * 8 + lane), word, next);
    if (lane == 0)
      send_words(to.groups + (copy + group * 2), tagged(own.scale, 0.0f, bit),
                 tagged(own.total, own.other_total, bit));
  }
  if ((parts & kRowHalves) != 0) {
    const float scale = row_scale(largest);
    const float inverse = __uint_as_float((254u << 23) - __float_as_uint(scale));
    uint2 high = to_half4(x, inverse);
    high.x &= ~1u;  // the bit's place: low parts make up for it
    const uint2 low = rest_half4(x, inverse, high);
    send_words(to.halves + (copy + (group * 8 + lane) * 2), tagged(high.y, high.x, bit),
               tagged(low.y, low.x, bit));
    if (lane == 0) send_words(to.half_groups + (copy + group * 2), tagged(scale, 0.0f, bit), bit);
  }
}

// This CTA's share of the row, from the last CTA to the first: the first ones attend.
template <int kHeadDim>
__device__ __forceinline__ void send_joined_row(const DecodeTable& table, uint8_t parts, int32_t splits,
                                                uint32_t number) {
  const uint32_t ctas = gridDim.x,
                 groups = static_cast<uint32_t>(table.matmuls[kAttnOutput].cols) / kRowGroup;
#pragma unroll 1
  for (uint32_t group = ctas - 1 - blockIdx.x + static_cast<uint32_t>(warp_index()) * ctas; group < groups;
       group += kWarps * ctas)
    send_group(table.joined, parts, group, joined_columns<kHeadDim>(table, group, splits, number),
               number & 1);
}

// ---- readers

// `units` of two words from `units_at`, `groups` of two from `groups_at`: keep(index, words) and note(index,
// words) get them. All threads of a warp; kBatch of a lane's are asked for together, and what is missing
// again.
template <class Keep, class Note>
__device__ __forceinline__ void receive_words(const uint64_t* units_at, uint32_t units,
                                              const uint64_t* groups_at, uint32_t groups, uint32_t bit,
                                              const Keep& keep, const Note& note) {
  constexpr int kBatch = 3;
  const uint32_t all = units + groups, lane = threadIdx.x % kWarp;
#pragma unroll 1
  for (uint32_t first = threadIdx.x; first - lane < all; first += kBatch * kThreads) {
    uint64_t words[kBatch][2];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) words[b][0] = words[b][1] = first + b * kThreads < all ? bit ^ 1 : bit;
    const auto missing = [&](int b) { return (((words[b][0] ^ bit) | (words[b][1] ^ bit)) & 1) != 0; };
    bool any;
    do {
      any = false;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const uint32_t u = first + b * kThreads;
        if (missing(b)) look_at_words(u < units ? units_at + u * 2 : groups_at + (u - units) * 2, words[b]);
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) any |= missing(b);
    } while (__any_sync(kAllLanes, any));
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const uint32_t u = first + b * kThreads;
      if (u < units) {
        keep(u, words[b]);
      } else if (u < all) {
        note(u - units, words[b]);
      }
    }
  }
}

// Columns begin .. end, multiples of 64, into shared memory. Ends with a barrier.
__device__ __forceinline__ void receive_joined_row(const DecodeTable& table, const InputRow& row,
                                                   uint8_t parts, uint32_t begin, uint32_t end,
                                                   uint32_t number) {
  const RowPlaces& from = table.joined;
  const uint32_t copy = blockIdx.x % kRowCopies * from.step, bit = number & 1;
  const uint32_t columns = end - begin, groups = columns / kRowGroup,
                 groups_at = copy + begin / kRowGroup * 2;
  if ((parts & kRowBytes) != 0) {
    receive_words(
        from.bytes + (copy + begin / 4), columns / 8, from.groups + groups_at, groups, bit,
        [&](uint32_t unit, const uint64_t(&words)[2]) {
          store_bytes(row, unit * 8, high_word(words[0]), low_word(words[0]));
          store_bytes(row, unit * 8 + 4, high_word(words[1]), low_word(words[1]));
        },
        [&](uint32_t group, const uint64_t(&words)[2]) {
          const float first = __uint_as_float(high_word(words[1])),
                      second = __uint_as_float(low_word(words[1]));
          row.groups[group] = {__uint_as_float(high_word(words[0])), first + second, first, second};
        });
  }
  if ((parts & kRowHalves) != 0) {
    receive_words(
        from.halves + (copy + begin / 2), columns / 4, from.half_groups + groups_at, groups, bit,
        [&](uint32_t unit, const uint64_t(&words)[2]) {
          store_halves(row, unit * 4, {low_word(words[0]), high_word(words[0])},
                       {low_word(words[1]), high_word(words[1])});
        },
        [&](uint32_t group, const uint64_t(&words)[2]) {
          row.half_scales[group] = __uint_as_float(high_word(words[0]));
        });
  }
  sync_workers();
}

}  // namespace qwend::cuda::decode
