// Queries, keys and values of prompts by a boxed product: sums of both planes meet in registers, where they
// get bias, QK-norm and rotation, and go to q and the cache from there.
#include "kernels/check.h"
#include "kernels/cuda/matmul_boxed_kernel.cuh"
#include "kernels/cuda/qkv_boxed.h"

namespace qwend::cuda {
namespace boxed {
namespace {

// The heads of a tile, a row of tokens at a time. Lane 4 g + c has columns 8 n + 2 c, + 1 of a head:
// rotation's partners d and d + kHeadDim / 2 are the same lane's.
template <int kHeadDim, int kTileRows>
struct Heads {
  static constexpr int kEights = kHeadDim / 8, kHeadsATile = kTileRows / kHeadDim;
  using Head = float[kEights][2];  // a lane's columns

  QkvFinish op;
  const int32_t *positions, *slots;  // [T]
  KvLayer kv;
  float* q;  // [T, H * kHeadDim]

  // Of rows `row`, row + 8, as many as the lane has.
  template <int kSums>
  __device__ __forceinline__ void finish(const float (&sums)[kTileRows / 8][kSums], int32_t row, int32_t tile,
                                         int32_t num_tokens) const {
    const int32_t heads = op.shape.num_heads + 2 * op.shape.num_kv_heads, c = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < kSums / 2; ++r) {
      const int32_t token = row + 8 * r, known = min(token, num_tokens - 1);
      const float scale = op.scale != nullptr ? __ldg(op.scale + known) : 1.0f;
      const int32_t slot = __ldg(slots + known);
      float4 angles[kEights / 2];  // cos, sin of two columns
      const float2* const rope = op.rope + int64_t{__ldg(positions + known)} * (kHeadDim / 2) + 2 * c;
#pragma unroll
      for (int n = 0; n < kEights / 2; ++n) angles[n] = __ldg(reinterpret_cast<const float4*>(rope + 8 * n));
#pragma unroll
      for (int h = 0; h < kHeadsATile; ++h) {
        const int32_t head = tile * kHeadsATile + h;
        if (head >= heads) break;
        Head x;
#pragma unroll
        for (int n = 0; n < kEights; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) x[n][i] = sums[h * kEights + n][2 * r + i] * scale;
        complete(x, head, c);
        if (head < op.shape.num_heads + op.shape.num_kv_heads) rotate(x, angles);
        store(x, token < num_tokens, known, slot, head, c);
      }
    }
  }

 private:
  // Bias and norm. All lanes.
  __device__ __forceinline__ void complete(Head& x, int32_t head, int32_t c) const {
    const auto pair = [&](const float* from, int n) {
      return __ldg(reinterpret_cast<const float2*>(from + 8 * n + 2 * c));
    };
    if (op.bias != nullptr) {
#pragma unroll
      for (int n = 0; n < kEights; ++n) {
        const float2 bias = pair(op.bias + int64_t{head} * kHeadDim, n);
        x[n][0] += bias.x, x[n][1] += bias.y;
      }
    }
    const float* const norm = head < op.shape.num_heads                           ? op.q_norm
                              : head < op.shape.num_heads + op.shape.num_kv_heads ? op.k_norm
                                                                                  : nullptr;
    if (norm == nullptr) return;
    float squares = 0.0f;
#pragma unroll
    for (int n = 0; n < kEights; ++n) squares += x[n][0] * x[n][0] + x[n][1] * x[n][1];
    const float scale = 1.0f / sqrtf(lanes_sum<4>(squares) / kHeadDim + op.norm_eps);
#pragma unroll
    for (int n = 0; n < kEights; ++n) {
      const float2 weight = pair(norm, n);
      x[n][0] *= scale * weight.x, x[n][1] *= scale * weight.y;
    }
  }

  __device__ __forceinline__ static void rotate(Head& x, const float4 (&angles)[kEights / 2]) {
#pragma unroll
    for (int n = 0; n < kEights / 2; ++n) {
      const float4 a = angles[n];
      float2 &low = reinterpret_cast<float2&>(x[n]), &high = reinterpret_cast<float2&>(x[n + kEights / 2]);
      const float2 u = low, v = high;
      low = {u.x * a.x - v.x * a.y, u.y * a.z - v.y * a.w};
      high = {v.x * a.x + u.x * a.y, v.y * a.z + u.y * a.w};
    }
  }

  // Queries as pairs, keys and values 16 bytes a lane.
  __device__ __forceinline__ void store(const Head& x, bool there, int32_t token, int32_t slot, int32_t head,
                                        int32_t c) const {
    const int32_t num_q = op.shape.num_heads, num_kv = op.shape.num_kv_heads;
    if (head < num_q) {
      if (!there) return;
      float* const to = q + (int64_t{token} * num_q + head) * kHeadDim + 2 * c;
#pragma unroll
      for (int n = 0; n < kEights; ++n)
        *reinterpret_cast<float2*>(to + 8 * n) = make_float2(x[n][0], x[n][1]);
      return;
    }
    const bool key = head < num_q + num_kv;
    const int64_t at = slot >= 0 ? kv.offset(slot, head - num_q - (key ? 0 : num_kv)) : 0;
    __half* const to = (key ? kv.keys : kv.values) + at;
#pragma unroll
    for (int n = 0; n < kEights; n += 4) {
      uint32_t words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j)
        words[j] = half2_bits(__halves2half2(half_saturated(x[n + j][0]), half_saturated(x[n + j][1])));
      exchange(words);
      if (there && slot >= 0)
        *reinterpret_cast<uint4*>(to + 8 * (n + c)) = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
};

struct Call {
  const BoxedWeights& w;
  const HalfRows& in;
  const QkvFinish& op;
  const DeviceStep& step;
  const KvLayer& kv;
  float* q;
  cudaStream_t stream;
};

template <int kHeadDim, class Shape>
void launch(const Call& c) {
  constexpr int kTileRows = Shape::kTileRows;
  Work work = work_of<Shape>(c.step.num_tokens, c.w.count, kTileRows, c.w.depth);
  const auto tokens = [&](const __half* rows) {
    return tensor_map(rows, c.step.num_tokens, c.w.depth, c.in.stride, kBoxTokens<Shape>);
  };
  const CUtensorMap weights = tensor_map(c.w.rows, c.w.count, c.w.depth, c.w.stride, kTileRows / 2);
  const int32_t plane_steps = work.steps;
  if (c.in.low != nullptr && !Shape::kPlanesApart) work.steps *= 2;
  const Boxes boxes{tokens(c.in.low != nullptr ? c.in.low : c.in.rows),
                    tokens(c.in.rows),
                    {weights, weights},
                    kTileRows,
                    {0, kTileRows / 2},
                    plane_steps};
  launch_boxes<Shape>(boxes, work,
                      Heads<kHeadDim, kTileRows>{c.op, c.step.positions, c.step.slot_mapping, c.kv, c.q},
                      c.stream);
}

// The shape whose rounds of tiles take the least time. (0.5B, 2,048 tokens: 40 tiles of 256 rows on 66 pairs
// of CTAs are a round, as are 48 of 192; 7B: 144 of 256 are three rounds, 288 of 128 are five of half the
// time. 0.5B, 256 tokens: 18 CTAs with tiles of 128 rows, 72 with a head and 64 tokens.)
template <int kHeadDim>
void launch_best(const Call& c) {
  // Of a tile, in rows of 128 tokens and both planes: what takes the same time for any number of them, and
  // that with a head as a tile, where more passes through L2.
  constexpr int64_t kFixed = 24, kFixedOfHead = 32;
  using Head = Shape<kHeadDim, 1, 2, true>;
  const auto cost = [&]<class Shape>(Shape) {
    const Work work = work_of<Shape>(c.step.num_tokens, c.w.count, Shape::kTileRows, c.w.depth);
    const int64_t tiles = int64_t{work.token_tiles} * work.row_tiles, at_once = clusters_at_once<Shape>();
    const int64_t tile =
        Shape::kPlanesApart ? Shape::kTileRows / 2 + kFixedOfHead : Shape::kTileRows + kFixed;
    return (tiles + at_once - 1) / at_once * tile;
  };
  const int64_t most = cost(PairShape<256>{}), least = cost(PairShape<128>{});
  if (c.in.low != nullptr && cost(Head{}) < std::min(most, least)) return launch<kHeadDim, Head>(c);
  if constexpr (kHeadDim == 64) {
    if (cost(PairShape<192>{}) < std::min(most, least)) return launch<64, PairShape<192>>(c);
  }
  least < most ? launch<kHeadDim, PairShape<128>>(c) : launch<kHeadDim, PairShape<256>>(c);
}

}  // namespace
}  // namespace boxed

bool boxed_qkv_serves(const QkvFinish& op, const KvLayer& kv) {
  return has_boxed_products() && !kv.precise() && (kv.head_dim == 64 || kv.head_dim == 128) &&
         op.rotary_dim == kv.head_dim;
}

void boxed_qkv(const BoxedWeights& w, const HalfRows& in, const QkvFinish& op, const DeviceStep& step,
               const KvLayer& kv, float* q, cudaStream_t stream) {
  const AttentionShape& shape = op.shape;
  CHECK(boxed_qkv_serves(op, kv) && shape.head_dim == kv.head_dim && shape.num_kv_heads == kv.num_kv_heads);
  CHECK(w.count == int64_t{shape.num_heads + 2 * shape.num_kv_heads} * shape.head_dim && step.num_tokens > 0);
  CHECK(op.qkv == nullptr && op.qkv_low == nullptr);
  const boxed::Call call{w, in, op, step, kv, q, stream};
  kv.head_dim == 64 ? boxed::launch_best<64>(call) : boxed::launch_best<128>(call);
}

}  // namespace qwend::cuda
