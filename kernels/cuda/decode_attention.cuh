// Attention of a decode program: one CTA takes one split of the context and one KV head.
//
// All of a group's query heads (at most 8) are rows 0-7 of a tensor-core tile, and what FP16 left of each of
// them lies 8 rows below: 22 bits for the price of 11. Keys and values go from the cache straight into
// fragments: columns are permuted so that a lane's share is 16 contiguous bytes of a row (scores and sums
// don't care about the order).
#pragma once
#include "kernels/cuda/attention.h"
#include "kernels/cuda/decode_inputs.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/split_half.h"

namespace qwend::cuda::decode {

inline constexpr int kGroup = 8;        // query heads of a KV head, at most
inline constexpr int kKeyWarps = 8;     // that share the keys of a split: it has 128 at least
inline constexpr int kTileKeys = 16;    // keys that a warp takes at once: of one cache block
inline constexpr float kShift = 14.0f;  // weights are at most 2^14, so that FP16 keeps the small ones' bits

struct AttentionUnit {
  int32_t kv_head, split;
  int32_t begin, end;  // keys; none: of a split that this context doesn't have
  bool newest;         // holds the token's own key
};

// What a launch knows of its token and of this CTA's part in its attention, the same in all layers; in shared
// memory.
template <int kHeadDim>
struct TokenMemory {
  int32_t slot, context, splits;
  const int32_t* blocks;  // its block table
  AttentionUnit first;    // of this CTA, and where in the cache its warps begin
  int64_t tile_at[kKeyWarps];
  float2 angles[kHeadDim / 2];
};

template <int kHeadDim>
struct AttentionMemory {
  static constexpr int kStride = kHeadDim + 4, kQueryStride = kHeadDim + 8;
  __half queries[2][kGroup][kQueryStride];  // high and low parts
  __half newest[2][kHeadDim];               // the token's own key and value, when it is of this split
  float2 sums[kKeyWarps][kGroup];           // (maximum, sum)
  float out[kKeyWarps][kGroup][kStride];
};

__device__ __forceinline__ uint4 load_cache16(const __half* p) {
  return __ldcg(reinterpret_cast<const uint4*>(p));
}

// A layer's attention on this CTA. run() fetches keys and values while queries are on their way.
template <int kHeadDim>
class DecodeAttention {
  static constexpr int kOwn = kHeadDim / kWarp;  // a lane's elements of a head
  static constexpr int kBlocks = kHeadDim / 64;
  static_assert(kGroup + 2 <= kWarps);  // a warp a head
  using Memory = AttentionMemory<kHeadDim>;
  using Token = TokenMemory<kHeadDim>;

 public:
  // number: of the layer, as lines carry it.
  __device__ DecodeAttention(const DecodeTable& table, const DecodeLayer& layer, uint32_t number,
                             const Token& token, Memory& memory)
      : table_(table),
        layer_(layer),
        number_(number),
        token_(token),
        memory_(memory),
        group_(table.attention.num_heads / table.attention.num_kv_heads) {}

  __device__ __forceinline__ void run() {
    const int warp = warp_index();
    AttentionUnit u = token_.first;
    int64_t tile_at = warp < kKeyWarps ? token_.tile_at[warp] : 0;
    const int32_t units = table_.max_splits * table_.attention.num_kv_heads;
#pragma unroll 1
    for (auto i = static_cast<int32_t>(blockIdx.x); i < units;) {
      u.begin < u.end ? attend(u, tile_at) : leave_nothing(u);
      i += static_cast<int32_t>(gridDim.x);
      if (i >= units) return;
      u = find(i);
      tile_at = tile_offset(u, u.begin + warp * kTileKeys);
    }
  }

  // What run() loads first, into L2: asked for when attention begins, keys and values wait behind the weights
  // that are on their way by then (0.5B Q8_0 2,136 -> 2,196 tokens/s). Later tiles are not fetched: with all
  // of 16,256 tokens in L2 ahead of time a step took 3% longer.
  __device__ __forceinline__ void fetch() const {
    constexpr int kLineHalves = 64, kLines = kTileKeys * kHeadDim / kLineHalves;
    static_assert(kLines <= kWarp);
    const int warp = warp_index();
    const AttentionUnit& u = token_.first;
    if (warp >= kKeyWarps || u.begin + warp * kTileKeys >= u.end || lane_index() >= kLines) return;
    const int64_t at = token_.tile_at[warp] + lane_index() * kLineHalves;
    asm volatile("prefetch.global.L2 [%0];" ::"l"(layer_.keys + at));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(layer_.values + at));
  }

  // Of the CTA's first unit, into the token's memory: all threads, before a barrier.
  __device__ static void prepare(const DecodeTable& table, TokenMemory<kHeadDim>& token, Memory& memory) {
    const DecodeAttention all(table, table.layers[0], 0, token, memory);
    const AttentionUnit u = all.find(static_cast<int32_t>(blockIdx.x));
    if (threadIdx.x == 0) token.first = u;
    if (threadIdx.x < kKeyWarps)
      token.tile_at[threadIdx.x] =
          all.tile_offset(u, u.begin + static_cast<int32_t>(threadIdx.x) * kTileKeys);
  }

 private:
  __device__ __forceinline__ AttentionUnit find(int32_t index) const {
    const SplitPlan plan{table_.max_splits};
    const int32_t kv_heads = table_.attention.num_kv_heads, keys = plan.keys(token_.context);
    AttentionUnit u{index % kv_heads, index / kv_heads, 0, 0, false};
    u.begin = min(u.split * keys, token_.context), u.end = min(u.begin + keys, token_.context);
    u.newest = u.end == token_.context;
    return u;
  }

  __device__ __forceinline__ void attend(const AttentionUnit& u, int64_t tile_at) {
    const int warp = warp_index();
    // Set for all warps: otherwise the compiler keeps their registers for them through all phases.
#pragma unroll
    for (auto& keys : k_)
#pragma unroll
      for (uint4& k : keys) k = make_uint4(0, 0, 0, 0);
#pragma unroll
    for (auto& values : v_)
#pragma unroll
      for (uint4& v : values) v = make_uint4(0, 0, 0, 0);
    if (warp < kKeyWarps)
      load_tile(u, u.begin + warp * kTileKeys, tile_at);  // while queries are on their way
    sync_workers();  // the memory is that of a product's results, which other warps may be reading
    if (warp < group_ + (u.newest ? 2 : 0)) prepare_head(u, warp);
    sync_workers();
    if (warp < kKeyWarps) attend_keys(u);
    sync_workers();
    leave(u);
    sync_workers();
  }

  // First column of this lane's elements: of head `index` of the group, of its key, of its value.
  __device__ __forceinline__ int32_t column_of(int32_t kv_head, int index) const {
    const AttentionShape& shape = table_.attention;
    const int32_t head = index < group_
                             ? kv_head * group_ + index
                             : shape.num_heads + (index == group_ ? 0 : shape.num_kv_heads) + kv_head;
    return head * kHeadDim + lane_index() * kOwn;
  }

  // Bias, norm, rotation of head `index` of the group, its key or its value: to shared memory, keys and
  // values to the cache too.
  __device__ __forceinline__ void prepare_head(const AttentionUnit& u, int index) const {
    const int32_t first = lane_index() * kOwn, column = column_of(u.kv_head, index);
    const bool is_query = index < group_, is_key = index == group_;
    const float* const weights = is_query ? layer_.q_norm : is_key ? layer_.k_norm : nullptr;
    float bias[kOwn] = {}, norm[kOwn] = {};
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      if (layer_.bias != nullptr) bias[i] = load_early(layer_.bias + column + i);
      if (weights != nullptr) norm[i] = load_early(weights + first + i);
    }
    float2 sums[1][kOwn / 2] = {};
    const DecodeMatmul& qkv = table_.matmuls[kQkv];
    receive_sums<2>(qkv.sums, {static_cast<uint32_t>(column) / 2}, true, static_cast<uint32_t>(qkv.rows) / 2,
                    qkv.slots, number_, sums);
    float x[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) x[i] = (i % 2 == 0 ? sums[0][i / 2].x : sums[0][i / 2].y) + bias[i];
    if (weights != nullptr) {
      float squares = 0.0f;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) squares += x[i] * x[i];
      const float scale = rsqrtf(lanes_sum(squares) / kHeadDim + table_.qk_eps);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) x[i] = x[i] * scale * norm[i];
    }
    if (is_query || is_key) rotate(x, token_.angles, first);
    if (is_query) {
#pragma unroll
      for (int i = 0; i < kOwn; i += 2) {
        uint32_t high, low;
        split(x[i] * table_.query_scale, x[i + 1] * table_.query_scale, high, low);
        *reinterpret_cast<uint32_t*>(memory_.queries[0][index] + first + i) = high;
        *reinterpret_cast<uint32_t*>(memory_.queries[1][index] + first + i) = low;
      }
      return;
    }
    const int32_t within = token_.slot & ((1 << table_.block_shift) - 1);
    __half* const cache = token_.slot >= 0
                              ? (is_key ? layer_.keys : layer_.values) +
                                    cache_offset(token_.slot >> table_.block_shift, within, u.kv_head) + first
                              : nullptr;
#pragma unroll
    for (int i = 0; i < kOwn; i += 2) {
      const uint32_t pair = half2_bits(__halves2half2(half_saturated(x[i]), half_saturated(x[i + 1])));
      *reinterpret_cast<uint32_t*>(memory_.newest[is_key ? 0 : 1] + first + i) = pair;
      if (cache != nullptr) *reinterpret_cast<uint32_t*>(cache + i) = pair;
    }
  }

  // Pairs (d, d + hd / 2) belong to lanes 16 apart.
  __device__ __forceinline__ static void rotate(float (&x)[kOwn], const float2* angles, int32_t first) {
    constexpr int kHalf = kHeadDim / 2;
    const bool upper = first >= kHalf;
    if (upper) angles -= kHalf;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float partner = __shfl_xor_sync(kAllLanes, x[i], 16);
      const float2 a = angles[first + i];
      x[i] = upper ? x[i] * a.x + partner * a.y : x[i] * a.x - partner * a.y;
    }
  }

  __device__ __forceinline__ int64_t cache_offset(int32_t block, int32_t within, int32_t head) const {
    return (((int64_t{block} * table_.attention.num_kv_heads + head) << table_.block_shift) + within) *
           kHeadDim;
  }
  // Where keys key .. key + 15 of a unit begin in the cache; 0 where it has none.
  __device__ __forceinline__ int64_t tile_offset(const AttentionUnit& u, int32_t key) const {
    if (key >= u.end) return 0;
    const int32_t within = key & ((1 << table_.block_shift) - 1);
    return cache_offset(__ldg(token_.blocks + (key >> table_.block_shift)), within, u.kv_head);
  }

  // Keys key .. key + 15 of the split and their values, as far as it goes: rows beyond may hold anything, NaN
  // too.
  __device__ __forceinline__ void load_tile(const AttentionUnit& u, int32_t key, int64_t at) {
    const int lane = lane_index(), g = lane / 4, c = lane % 4;
    const int32_t visible = u.end - key;
    if (visible <= 0) return;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int j = 0; j < kHeadDim / 32; ++j) {
        k_[n][j] = make_uint4(0, 0, 0, 0);
        if (8 * n + g < visible)
          k_[n][j] = load_cache16(layer_.keys + at + (8 * n + g) * kHeadDim + 32 * j + 8 * c);
      }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        v_[i][b] = make_uint4(0, 0, 0, 0);
        if (value_key(i) < visible)
          v_[i][b] = load_cache16(layer_.values + at + value_key(i) * kHeadDim + 64 * b + 8 * g);
      }
  }
  // Which key of a tile v_[i] belongs to.
  __device__ __forceinline__ static int value_key(int i) {
    return 2 * (lane_index() % 4) + i % 2 + i / 2 * 8;
  }

  // The row's own key and value were not in the cache yet when the tile was loaded, or may not have been.
  __device__ __forceinline__ void patch_newest(int32_t newest) {
    const int lane = lane_index(), g = lane / 4, c = lane % 4;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int j = 0; j < kHeadDim / 32; ++j) {
        if (8 * n + g == newest)
          k_[n][j] = *reinterpret_cast<const uint4*>(memory_.newest[0] + 32 * j + 8 * c);
      }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        if (value_key(i) == newest)
          v_[i][b] = *reinterpret_cast<const uint4*>(memory_.newest[1] + 64 * b + 8 * g);
      }
  }

  // This warp's tiles of the split; the first is in registers.
  __device__ __forceinline__ void attend_keys(const AttentionUnit& u) {
    const int lane = lane_index(), g = lane / 4, c = lane % 4, warp = warp_index();
    float out[kHeadDim / 8][2] = {};
    float maximum = -INFINITY, sum = 0.0f;
#pragma unroll 1
    for (int32_t key = u.begin + warp * kTileKeys; key < u.end;) {
      const int32_t visible = u.end - key;
      if (u.newest && visible <= kTileKeys) patch_newest(visible - 1);
      float scores[2][4] = {};
      multiply_keys(scores);
      // Rows g + 8 hold the low planes' share. Keys 8 n + 2c and + 1 of head g:
      float s[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[i] = scores[i / 2][i % 2] + scores[i / 2][i % 2 + 2];
        if (8 * (i / 2) + 2 * c + i % 2 >= visible) s[i] = -INFINITY;
      }
      const float top = fmaxf(maximum, lanes_max<4>(fmaxf(fmaxf(s[0], s[1]), fmaxf(s[2], s[3]))));
      const float keep = exp2_fast(maximum - top);
      maximum = top;
      sum *= keep;
      uint32_t p[4];
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float x = exp2_fast(s[2 * n] - (top - kShift)), y = exp2_fast(s[2 * n + 1] - (top - kShift));
        sum += x + y;
        split(x, y, p[2 * n], p[2 * n + 1]);
      }
      add_values(p, keep, out);
      key += kKeyWarps * kTileKeys;
      load_tile(u, key, tile_offset(u, key));
    }
    sum = lanes_sum<4>(sum);
    if (c == 0) memory_.sums[warp][g] = make_float2(maximum, sum);
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
#pragma unroll
      for (int j = 0; j < 4; ++j) {  // four columns each: 64 b + 16 c + 4 j
        const int first = 8 * b + 4 * (j % 2), i = j / 2;
        *reinterpret_cast<float4*>(memory_.out[warp][g] + 64 * b + 16 * c + 4 * j) =
            make_float4(out[first][i], out[first + 1][i], out[first + 2][i], out[first + 3][i]);
      }
  }

  // x, y as a pair of high halves and a pair of what they left.
  __device__ __forceinline__ static void split(float x, float y, uint32_t& high, uint32_t& low) {
    const SplitHalf a = split_half(x), b = split_half(y);
    high = half2_bits(__halves2half2(a.high, b.high));
    low = half2_bits(__halves2half2(a.low, b.low));
  }

  __device__ __forceinline__ void multiply_keys(float (&scores)[2][4]) const {
    const int lane = lane_index(), g = lane / 4, c = lane % 4;
    const int head = g < group_ ? g : 0;  // beyond the group: any, nobody reads its scores
#pragma unroll
    for (int j = 0; j < kHeadDim / 32; ++j) {
      const uint4 high = *reinterpret_cast<const uint4*>(memory_.queries[0][head] + 32 * j + 8 * c);
      const uint4 low = *reinterpret_cast<const uint4*>(memory_.queries[1][head] + 32 * j + 8 * c);
      const uint32_t a[4] = {high.x, low.x, high.y, low.y}, b[4] = {high.z, low.z, high.w, low.w};
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        mma_f16(scores[n], a, {k_[n][j].x, k_[n][j].y});
        mma_f16(scores[n], b, {k_[n][j].z, k_[n][j].w});
      }
    }
  }

  // out = keep * out + p v. High and low planes meet here: as sums of their own they would take twice the
  // registers.
  __device__ __forceinline__ void add_values(const uint32_t (&p)[4], float keep,
                                             float (&out)[kHeadDim / 8][2]) const {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const auto word = [&](int i) {
          const uint4& x = v_[i][b];
          return j / 2 == 0 ? x.x : j / 2 == 1 ? x.y : j / 2 == 2 ? x.z : x.w;
        };
        const uint32_t select = j % 2 == 0 ? 0x5410u : 0x7632u;
        float product[4] = {};
        mma_f16(product, p, {__byte_perm(word(0), word(1), select), __byte_perm(word(2), word(3), select)});
#pragma unroll
        for (int i = 0; i < 2; ++i)
          out[8 * b + j][i] = fmaf(out[8 * b + j][i], keep, product[i] + product[i + 2]);
      }
    }
  }

  // The warps' sums become the split's.
  __device__ __forceinline__ void leave(const AttentionUnit& u) const {
    constexpr int kQuads = kHeadDim / 4;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < group_ * kQuads; i += kThreads) {
      const int g = i / kQuads, quad = i % kQuads;
      float2 part[kKeyWarps];
      float maximum = -INFINITY, sum = 0.0f;
#pragma unroll
      for (int w = 0; w < kKeyWarps; ++w) part[w] = memory_.sums[w][g], maximum = fmaxf(maximum, part[w].x);
      maximum = as_sent(maximum);
      float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
      for (int w = 0; w < kKeyWarps; ++w) {
        const float weight = exp2_fast(part[w].x - maximum);  // 0 for a warp without keys
        const float4 o = *reinterpret_cast<const float4*>(memory_.out[w][g] + 4 * quad);
        sum += part[w].y * weight;
        out.x += o.x * weight, out.y += o.y * weight, out.z += o.z * weight, out.w += o.w * weight;
      }
      send_split(u, g, quad, out, maximum, sum);
    }
  }
  // Places of a split that this context doesn't have: all are written in every layer.
  __device__ __forceinline__ void leave_nothing(const AttentionUnit& u) const {
    constexpr int kQuads = kHeadDim / 4;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < group_ * kQuads; i += kThreads)
      send_split(u, i / kQuads, i % kQuads, make_float4(0.0f, 0.0f, 0.0f, 0.0f), 0.0f, 0.0f);
  }
  __device__ __forceinline__ void send_split(const AttentionUnit& u, int g, int quad, const float4& out,
                                             float maximum, float sum) const {
    const int64_t at = int64_t{u.kv_head * group_ + g} * table_.max_splits + u.split;
    send(table_.split_out + (at * (kHeadDim / 4) + quad) * 2, out, number_);
    if (quad == 0) send(table_.split_sums + at, maximum, sum, number_);
  }

  const DecodeTable& table_;
  const DecodeLayer& layer_;
  const uint32_t number_;
  const Token& token_;
  Memory& memory_;
  const int32_t group_;
  uint4 k_[2][kHeadDim / 32];  // keys g and 8 + g; columns 32 j + 8 c .. + 7
  uint4 v_[4][kBlocks];        // keys value_key(i); columns 64 b + 8 g .. + 7
};

}  // namespace qwend::cuda::decode
