// The input row of a phase in shared memory, in the parts that tensor cores read: every CTA makes it for
// itself, in one pass over values as they arrive. Each group of 32 columns has a scale of its own, so that
// nobody waits for the row's maximum, and an outlier costs its neighbours only.
#pragma once
#include "kernels/cuda/decode_cut.cuh"
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/tile_bytes.cuh"

namespace qwend::cuda::decode {

inline constexpr uint32_t kRowGroup = 32;                   // columns
inline constexpr int kByteTileBytes = 128;                  // of 64 columns: both parts
inline constexpr int kHalfGroupBytes = 128;                 // of 32 columns: both parts
inline constexpr uint32_t kRowSlack = 2 * kHalfGroupBytes;  // that may be read past a row
inline constexpr int kSquares = (kWarps + 3) / 4 * 4;
inline constexpr float kLargestCode = 32639;  // 127 * 256 + 127

// Of bytes: what sums of codes are multiplied by, and the group's sum, of its first 16 columns, of the
// others.
struct alignas(16) RowGroup {
  float scale, total, first_total, second_total;
};

// Columns of the CTA's stretch.
struct InputRow {
  std::byte* bytes;    // value = scale * (256 * high + low): [64 columns][high, low][c][step][4]
  RowGroup* groups;    // [32 columns]
  std::byte* halves;   // value = scale * (high + low), FP16: [32 columns][high, low][c][8 columns][2]
  float* half_scales;  // [32 columns], powers of two
  float* squares;      // [kSquares] sums of squares, a warp's each; zeros
};

// The largest magnitude of the 32 columns that eight lanes hold, as bits.
__device__ __forceinline__ uint32_t group_largest(const float4& x) {
  uint32_t largest = magnitude_bits(x);
#pragma unroll
  for (int distance = 1; distance < 8; distance *= 2)
    largest = max(largest, __shfl_xor_sync(kAllLanes, largest, distance));
  return largest;
}

// Four columns as bytes of high and low parts, in the order of byte_codes(); and of their group the scale and
// the sums of codes over the lane's 16 columns and over the other 16.
struct ByteColumns {
  uint32_t high, low;
  float scale, total, other_total;
};

// All lanes of a warp, eight of which hold a group. kEven: the lowest bit of `low` is zero.
template <bool kEven>
__device__ __forceinline__ ByteColumns byte_columns(const float4& x, float largest) {
  constexpr float kLeast = 1e-30f;  // below, values are zeros: 1 / largest must be finite
  // Infinities and NaN give a scale that is none either.
  const float scale = largest > kLeast ? largest * (1.0f / kLargestCode) : largest * 0.0f;
  const float inverse = largest > kLeast ? __fdividef(kLargestCode, largest) : 0.0f;
  int32_t q[4] = {__float2int_rn(x.x * inverse), __float2int_rn(x.y * inverse), __float2int_rn(x.z * inverse),
                  __float2int_rn(x.w * inverse)};
  if constexpr (kEven)
    q[0] = min(2 * __float2int_rn(x.x * inverse * 0.5f), static_cast<int32_t>(kLargestCode) - 1);
  const auto pack = [&](int32_t plus, uint32_t select) {  // a byte of each
    const auto word = [&](int i) { return static_cast<uint32_t>(q[i] + plus); };
    return __byte_perm(__byte_perm(word(0), word(2), select), __byte_perm(word(1), word(3), select), 0x5410);
  };
  int32_t total = (q[0] + q[1]) + (q[2] + q[3]);  // then of 16 columns
  total += __shfl_xor_sync(kAllLanes, total, 1);
  total += __shfl_xor_sync(kAllLanes, total, 2);
  const int32_t other = __shfl_xor_sync(kAllLanes, total, 4);
  return {pack(128, 0x0051),  // so that low parts are -128 .. 127
          pack(0, 0x0040), scale, scale * static_cast<float>(total), scale * static_cast<float>(other)};
}

// Columns at .. at + 3 of the stretch, as they lie in shared memory.
__device__ __forceinline__ void store_bytes(const InputRow& row, uint32_t at, uint32_t high, uint32_t low) {
  std::byte* const tile = row.bytes + at / kTileCols * kByteTileBytes + at / 4 % 4 * 16 + at / 16 % 4 * 4;
  *reinterpret_cast<uint32_t*>(tile) = high;
  *reinterpret_cast<uint32_t*>(tile + kByteTileBytes / 2) = low;
}
__device__ __forceinline__ void store_halves(const InputRow& row, uint32_t at, const uint2& high,
                                             const uint2& low) {
  // Pair c of each 8 columns is lane c's: those of 32 columns lie beside each other.
  auto* const pairs = reinterpret_cast<uint32_t*>(row.halves + at / kRowGroup * kHalfGroupBytes +
                                                  at % 8 / 2 * 16 + at % kRowGroup / 8 * 4);
  constexpr int kNext = 4, kLow = kHalfGroupBytes / 2 / 4;  // words
  pairs[0] = high.x, pairs[kNext] = high.y;
  pairs[kLow] = low.x, pairs[kLow + kNext] = low.y;
}

// All lanes of a warp; those that are not `there` write nothing.
__device__ __forceinline__ void put_bytes(const InputRow& row, const float4& x, float largest, uint32_t at,
                                          bool there) {
  const ByteColumns own = byte_columns<false>(x, largest);
  if (!there) return;
  store_bytes(row, at, own.high, own.low);
  if (at % kRowGroup == 0)
    row.groups[at / kRowGroup] = {own.scale, own.total + own.other_total, own.total, own.other_total};
}

__device__ __forceinline__ void put_halves(const InputRow& row, const float4& x, float largest, uint32_t at,
                                           bool there) {
  if (!there) return;
  const float scale = row_scale(largest);
  const float inverse = __uint_as_float((254u << 23) - __float_as_uint(scale));
  const uint2 high = to_half4(x, inverse), low = rest_half4(x, inverse, high);
  store_halves(row, at, high, low);
  if (at % kRowGroup == 0) row.half_scales[at / kRowGroup] = scale;
}

// Four columns of the row, of a warp's lanes eight of which hold a group.
__device__ __forceinline__ void put(const InputRow& row, uint8_t parts, const float4& x, uint32_t at,
                                    bool there) {
  const float largest = __uint_as_float(group_largest(x));
  if ((parts & kRowBytes) != 0) put_bytes(row, x, largest, at, there);
  if ((parts & kRowHalves) != 0) put_halves(row, x, largest, at, there);
}

// Fills the row with columns begin .. end of what the source gives; first .. last, multiples of 64, are
// loaded. Ends with a barrier.
//
//   source.load(column, squares): four columns from `column`, zeros beyond the row's width; and their
//   squares, where the source wants them summed.
template <class Source>
__device__ __forceinline__ void fill(const InputRow& row, uint8_t parts, uint32_t first, uint32_t last,
                                     uint32_t begin, uint32_t end, const Source& source) {
  constexpr uint32_t kStep = 4 * kThreads;
  const uint32_t lane_columns = 4 * (threadIdx.x % kWarp);
  uint32_t column = first + 4 * threadIdx.x;
  float squares = 0.0f;
#pragma unroll 1
  for (; column - lane_columns < last; column += kStep) {
    float own_squares = 0.0f;
    const float4 x = source.load(column, own_squares);
    squares += lanes_sum(own_squares);  // here, so that its shuffles go beside the others
    put(row, parts, x, column - begin, column >= begin && column < end);
  }
  if (lane_index() == 0) row.squares[warp_index()] = squares;
  sync_workers();
}

__device__ __forceinline__ float sum_of_squares(const InputRow& row) {
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int w = 0; w < kSquares; w += 4) {
    const float4 v = *reinterpret_cast<const float4*>(row.squares + w);
    sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
  }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

}  // namespace qwend::cuda::decode
