// Queries, keys and values of prompts by a boxed product: sums of both planes meet in registers, where they
// get bias, QK-norm and rotation, and go to q and the cache from there.
#include "kernels/check.h"
#include "kernels/cuda/matmul_boxed_pairs.cuh"
#include "kernels/cuda/qkv_boxed.h"

namespace qwend::cuda {
namespace boxed {
namespace {

// The heads of a tile, a row of tokens at a time. Lane 4 g + c has columns 8 n + 2 c, + 1 of a head:
// rotation's partners d and d + kHeadDim / 2 are the same lane's.
template <int kHeadDim, int kRowsATile>
struct Heads {
  static constexpr int kTileRows = kRowsATile;
  static constexpr int kEights = kHeadDim / 8, kHeadsATile = kTileRows / kHeadDim;
  using Head = float[kEights][2];  // a lane's columns

  QkvFinish op;
  const int32_t *positions, *slots;  // [T]
  KvLayer kv;
  float* q;  // [T, H * kHeadDim]

  __device__ __forceinline__ void finish(const Sums<kTileRows>& sums, int32_t row, int32_t tile,
                                         int32_t num_tokens) const {
    const int32_t heads = op.shape.num_heads + 2 * op.shape.num_kv_heads, c = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
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

template <int kHeadDim, int kTileRows>
void launch(const BoxedWeights& w, const HalfRows& in, const QkvFinish& op, const DeviceStep& step,
            const KvLayer& kv, float* q, cudaStream_t stream) {
  Work work = work_of(step.num_tokens, kCtas * kTokens, w.count, kTileRows, w.depth);
  const auto tokens = [&](const __half* rows) {
    return tensor_map(rows, step.num_tokens, w.depth, in.stride, kTokens);
  };
  const CUtensorMap weights = tensor_map(w.rows, w.count, w.depth, w.stride, kTileRows / kCtas);
  const int32_t plane_steps = work.steps;
  if (in.low != nullptr) work.steps *= 2;
  const Boxes boxes{tokens(in.low != nullptr ? in.low : in.rows),
                    tokens(in.rows),
                    {weights, weights},
                    kTileRows,
                    {0, kTileRows / kCtas},
                    plane_steps};
  launch_pairs(boxes, work, Heads<kHeadDim, kTileRows>{op, step.positions, step.slot_mapping, kv, q}, stream);
}

// Rows of a tile: those whose rounds of tiles take the least time. (0.5B, 2,048 tokens: 40 tiles of 256 rows
// on 66 pairs of CTAs are a round, as are 48 of 192; 7B: 144 of 256 are three rounds, 288 of 128 are five of
// half the time.)
template <int kHeadDim>
void launch_best(const BoxedWeights& w, const HalfRows& in, const QkvFinish& op, const DeviceStep& step,
                 const KvLayer& kv, float* q, cudaStream_t stream) {
  constexpr int64_t kFixed = 24;  // of a tile, in rows: what takes the same time for any number of them
  static const int64_t pairs = multiprocessor_count() / kCtas;
  const auto cost = [&](int64_t rows) {
    const int64_t tiles =
        (w.count + rows - 1) / rows * ((step.num_tokens + kCtas * kTokens - 1) / (kCtas * kTokens));
    return (tiles + pairs - 1) / pairs * (rows + kFixed);
  };
  if constexpr (kHeadDim == 64) {
    if (cost(192) < std::min(cost(256), cost(128))) return launch<64, 192>(w, in, op, step, kv, q, stream);
  }
  cost(128) < cost(256) ? launch<kHeadDim, 128>(w, in, op, step, kv, q, stream)
                        : launch<kHeadDim, 256>(w, in, op, step, kv, q, stream);
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
  kv.head_dim == 64 ? boxed::launch_best<64>(w, in, op, step, kv, q, stream)
                    : boxed::launch_best<128>(w, in, op, step, kv, q, stream);
}

}  // namespace qwend::cuda
