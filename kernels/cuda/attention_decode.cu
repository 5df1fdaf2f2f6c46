// Decode: one token a sequence, its context split among blocks of threads (flash-decoding).
//
// A block takes one split of one sequence and KV head: all query heads of the group are the rows of one tile,
// so each key and value is read once. Its warps share nothing while they run: each streams every kWarps-th 16
// keys through a ring of its own in shared memory. The splits of a sequence are joined, in their order, by
// the block that arrives last.
#include <algorithm>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.cuh"

namespace qwend::cuda {
namespace {

constexpr int32_t kTileKeys = 16;  // keys a warp takes at once: always of one cache block

template <int kHeadDim, bool kPrecise>
struct DecodeShape {
  using Warp = WarpAttention<kHeadDim, kTileKeys, kPrecise>;
  static constexpr int kKeyHalves = kHeadDim * Warp::kPlanes / 2;  // of one key: 64 to 512
  static constexpr int kWarps = kKeyHalves <= 128 ? 4 : kKeyHalves == 256 ? 2 : 1;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kStages = kKeyHalves == 64 ? 4 : kKeyHalves == 128 ? 3 : 2;  // 64 or 96 KiB a block
  static constexpr int kTileHalves = kTileKeys * kHeadDim * Warp::kPlanes;
  static constexpr int kRingHalves = kStages * kTileHalves;  // of a warp
  static constexpr int kQueryBytes = Queries<kHeadDim>::kSharedBytesPerWarp;
  // After its keys, a warp's ring holds its [kWarpRows, kOutStride] sums; the padding keeps rows g and g + 1
  // in different banks.
  static constexpr int kOutStride = kHeadDim + 8;
  static_assert(kWarpRows * kOutStride * 4 <= kRingHalves * 2);

  static constexpr int kQueriesAt = kWarps * kRingHalves * 2;  // bytes
  static constexpr int kSumsAt = kQueriesAt + kWarps * kQueryBytes;
  static constexpr int kLastAt = kSumsAt + kWarps * kWarpRows * 8;
  static constexpr int kSharedBytes = kLastAt + 16;
  static_assert(kSharedBytes <= 99 * 1024);  // what every device since sm_80 grants a block
};

struct DecodeArgs {
  AttentionCall call;
  int32_t first_seq, num_seqs;  // those that this launch looks after
  SplitPlan plan;
  int32_t row_tiles;  // tiles of kWarpRows rows that a group needs
  float* partial;
  float2* partial_sums;
  uint32_t* arrivals;
};

// One block's share: keys [begin, end) of a sequence for `rows` query heads from `head` on.
struct Split {
  int32_t seq, token, kv_head, head, rows;
  int32_t begin, end;
  int32_t index, count;  // this split, and how many its sequence has
};

template <int kHeadDim, bool kPrecise>
class DecodeBlock {
  using Shape = DecodeShape<kHeadDim, kPrecise>;
  static constexpr int kChunks = kHeadDim / 8;  // of 16 bytes, in a row

 public:
  __device__ DecodeBlock(const DecodeArgs& args, unsigned char* shared)
      : args_(args), call_(args.call), shared_(shared) {}

  __device__ void run() {
    SequenceCursor cursor;
    const int32_t parts = call_.kv.num_kv_heads * args_.row_tiles;
    const auto items = [&](int32_t i) {
      const int32_t seq = args_.first_seq + i;
      if (tokens_of(seq) != 1 || context(seq) <= 0) return 0;
      return args_.plan.splits(context(seq)) * parts;
    };
    for (int32_t i = static_cast<int32_t>(blockIdx.x);; i += static_cast<int32_t>(gridDim.x)) {
      const SequenceItem item = cursor.find(i, args_.num_seqs, items);
      if (item.seq < 0) return;
      const Split split = describe(args_.first_seq + item.seq, item.index / parts, item.index % parts);
      attend(split);
      __syncthreads();
      join_warps(split);
      if (split.count > 1 && arrives_last(split)) join_splits(split);
      __syncthreads();  // the next split reuses the shared memory
    }
  }

 private:
  __device__ int32_t tokens_of(int32_t seq) const {
    return __ldg(call_.step.cu_seqlens + seq + 1) - __ldg(call_.step.cu_seqlens + seq);
  }
  __device__ int32_t context(int32_t seq) const { return __ldg(call_.step.context_lens + seq); }

  __device__ Split describe(int32_t seq, int32_t index, int32_t part) const {
    Split s;
    s.seq = seq;
    s.token = __ldg(call_.step.cu_seqlens + seq);
    s.kv_head = part / args_.row_tiles;
    const int32_t row = part % args_.row_tiles * kWarpRows;
    s.head = s.kv_head * call_.group + row;
    s.rows = min(call_.group - row, kWarpRows);
    const int32_t keys = args_.plan.keys(context(seq));
    s.index = index;
    s.count = args_.plan.splits(context(seq));
    s.begin = index * keys;
    s.end = min(s.begin + keys, context(seq));
    return s;
  }

  // ---- this warp's keys of the split: tiles warp, warp + kWarps, …

  __device__ void attend(const Split& s) {
    const int32_t all_tiles = ceil_div(s.end - s.begin, kTileKeys);
    const int32_t tiles = ceil_div(all_tiles - warp_index(), Shape::kWarps);  // <= 0: none
#pragma unroll
    for (int stage = 0; stage < Shape::kStages; ++stage) {
      if (stage < tiles) fetch(s, stage, tiles, stage);
      copy_async_commit();
    }
    typename Shape::Warp state;
    const float* q = call_.q + (int64_t{s.token} * call_.num_heads + s.head) * kHeadDim;
    const int32_t row = lane_index() / 4;
    state.queries.load(
        row < s.rows ? q + row * kHeadDim : nullptr, row + 8 < s.rows ? q + (row + 8) * kHeadDim : nullptr,
        call_.query_scale,
        reinterpret_cast<uint4*>(shared_ + Shape::kQueriesAt + warp_index() * Shape::kQueryBytes));
    state.clear();
    int32_t stage = 0;
    for (int32_t tile = 0; tile < tiles; ++tile) {
      copy_async_wait<Shape::kStages - 1>();
      __syncwarp();
      const int32_t left = s.end - key_of(s, tile);
      state.attend(ring(stage), {left, left});
      __syncwarp();
      if (tile + Shape::kStages < tiles) fetch(s, tile + Shape::kStages, tiles, stage);
      copy_async_commit();
      stage = stage + 1 == Shape::kStages ? 0 : stage + 1;
    }
    copy_async_wait<0>();
    state.finish();
    __syncwarp();
    leave(state);
  }

  __device__ int32_t key_of(const Split& s, int32_t tile) const {
    return s.begin + (warp_index() + tile * Shape::kWarps) * kTileKeys;
  }
  __device__ __half* ring(int32_t stage) const {
    return reinterpret_cast<__half*>(shared_) + warp_index() * Shape::kRingHalves +
           stage * Shape::kTileHalves;
  }

  // Starts the copy of a tile. Tiles come in ascending order; where their keys are is looked up for 32 tiles
  // at a time, a lane each.
  __device__ void fetch(const Split& s, int32_t tile, int32_t tiles, int32_t stage) {
    if (tile % kWarp == 0) {
      const int32_t mine = min(tile + lane_index(), tiles - 1), key = key_of(s, mine);
      const int32_t* table = call_.step.block_tables + int64_t{s.seq} * __ldg(call_.step.block_table_stride);
      const int32_t block = __ldg(table + key / call_.kv.block_size);
      row_of_tile_ =
          (block * call_.kv.num_kv_heads + s.kv_head) * call_.kv.block_size + key % call_.kv.block_size;
    }
    const int64_t from = int64_t{__shfl_sync(kAllLanes, row_of_tile_, tile % kWarp)} * kHeadDim;
    const int32_t left = s.end - key_of(s, tile);  // rows beyond the context become zeros
    __half* tile_planes = ring(stage);
    constexpr int kPlane = Shape::Warp::kPlaneHalves;
    constexpr int kCopies = kTileKeys * kChunks / kWarp;  // of each plane
#pragma unroll(kPrecise ? 2 : kCopies)
    for (int i = 0; i < kCopies; ++i) {
      const int32_t index = lane_index() + i * kWarp, row = index / kChunks, chunk = index % kChunks;
      __half* to = tile_planes + tile_offset<kHeadDim>(row, chunk);
      const int64_t at = from + index * 8;
      copy_async_16(to, call_.kv.keys + at, row < left);
      copy_async_16(to + kPlane, call_.kv.values + at, row < left);
      if constexpr (kPrecise) {
        copy_async_16(to + 2 * kPlane, call_.kv.keys_low + at, row < left);
        copy_async_16(to + 3 * kPlane, call_.kv.values_low + at, row < left);
      }
    }
  }

  // ---- joining

  __device__ float* warp_out(int32_t warp) const {
    return reinterpret_cast<float*>(shared_ + warp * Shape::kRingHalves * 2);
  }
  __device__ float2* warp_sums() const { return reinterpret_cast<float2*>(shared_ + Shape::kSumsAt); }

  __device__ void leave(const typename Shape::Warp& state) const {
    const int32_t row = lane_index() / 4, column = lane_index() % 4 * 2;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float* out = warp_out(warp_index()) + (row + 8 * r) * Shape::kOutStride + column;
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n)
        *reinterpret_cast<float2*>(out + n * 8) = make_float2(state.out[n][2 * r], state.out[n][2 * r + 1]);
      if (column == 0)
        warp_sums()[warp_index() * kWarpRows + row + 8 * r] = make_float2(state.maximum[r], state.sum[r]);
    }
  }

  // The warps' sums become the split's: the result itself where it is the only one.
  __device__ void join_warps(const Split& s) const {
    constexpr int kQuads = kHeadDim / 4;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < s.rows * kQuads; i += Shape::kThreads) {
      const int32_t row = i / kQuads, column = i % kQuads * 4;
      float maximum = -INFINITY;
#pragma unroll
      for (int w = 0; w < Shape::kWarps; ++w) maximum = fmaxf(maximum, warp_sums()[w * kWarpRows + row].x);
      float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < Shape::kWarps; ++w) {
        const float2 part = warp_sums()[w * kWarpRows + row];
        const float weight = exp2_fast(part.x - maximum);  // 0 for a warp without keys
        sum += part.y * weight;
        add_scaled(out, weight,
                   *reinterpret_cast<const float4*>(warp_out(w) + row * Shape::kOutStride + column));
      }
      if (s.count == 1) {
        store(s, row, column, out, 1.0f / sum);
        continue;
      }
      const int64_t at = partial_row(s, row) + s.index;
      __stcg(reinterpret_cast<float4*>(args_.partial + at * kHeadDim + column), out);
      if (column == 0) __stcg(args_.partial_sums + at, make_float2(maximum, sum));
    }
  }

  // Whether all other splits of this sequence and these heads have left their sums.
  __device__ bool arrives_last(const Split& s) const {
    auto* last = reinterpret_cast<int32_t*>(shared_ + Shape::kLastAt);
    __syncthreads();  // this block's sums are written
    if (threadIdx.x == 0) {
      __threadfence();
      const auto others = static_cast<uint32_t>(s.count - 1);
      // Wraps to 0 at the last arrival: ready for the next launch.
      *last = atomicInc(args_.arrivals + int64_t{s.seq - args_.first_seq} * call_.num_heads + s.head,
                        others) == others;
      __threadfence();
    }
    __syncthreads();
    return *last != 0;
  }

  __device__ void join_splits(const Split& s) const {
    float* weights = reinterpret_cast<float*>(shared_);  // [rows, kMaxSplits]: the rings are free again
    for (int32_t row = warp_index(); row < s.rows; row += Shape::kWarps) {
      constexpr int kPerLane = SplitPlan::kMaxSplits / kWarp;
      float2 part[kPerLane];
      float maximum = -INFINITY, sum = 0.0f;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int32_t split = lane_index() + i * kWarp;
        part[i] = make_float2(-INFINITY, 0.0f);
        if (split < s.count) part[i] = __ldcg(args_.partial_sums + partial_row(s, row) + split);
        maximum = fmaxf(maximum, part[i].x);
      }
      maximum = lanes_max(maximum);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) sum += part[i].y * exp2_fast(part[i].x - maximum);
      const float inverse = 1.0f / lanes_sum(sum);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        weights[row * SplitPlan::kMaxSplits + lane_index() + i * kWarp] =
            exp2_fast(part[i].x - maximum) * inverse;
    }
    __syncthreads();
    constexpr int kQuads = kHeadDim / 4;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < s.rows * kQuads; i += Shape::kThreads) {
      const int32_t row = i / kQuads, column = i % kQuads * 4;
      const float4* parts =
          reinterpret_cast<const float4*>(args_.partial + partial_row(s, row) * kHeadDim + column);
      float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
      for (int32_t split = 0; split < s.count; ++split)
        add_scaled(out, weights[row * SplitPlan::kMaxSplits + split], __ldcg(parts + split * kQuads));
      store(s, row, column, out, 1.0f);
    }
  }

  __device__ int64_t partial_row(const Split& s, int32_t row) const {
    return (int64_t{s.seq - args_.first_seq} * call_.num_heads + s.head + row) * args_.plan.max_splits;
  }
  __device__ static void add_scaled(float4& sum, float weight, const float4& x) {
    sum.x += weight * x.x, sum.y += weight * x.y, sum.z += weight * x.z, sum.w += weight * x.w;
  }
  __device__ void store(const Split& s, int32_t row, int32_t column, const float4& x, float factor) const {
    const int64_t at = int64_t{s.head + row} * kHeadDim + column;
    if constexpr (kPrecise) {
      float* to = call_.out.values + int64_t{s.token} * call_.num_heads * kHeadDim + at;
      *reinterpret_cast<float4*>(to) = make_float4(x.x * factor, x.y * factor, x.z * factor, x.w * factor);
    } else {
      __half* to = call_.out.halves + s.token * call_.out.halves_stride + at;
      *reinterpret_cast<uint32_t*>(to) = pack_half2(x.x * factor, x.y * factor);
      *reinterpret_cast<uint32_t*>(to + 2) = pack_half2(x.z * factor, x.w * factor);
    }
  }

  const DecodeArgs& args_;
  const AttentionCall& call_;
  unsigned char* shared_;
  int32_t row_of_tile_ =
      0;  // of tile (fetched so far) / 32 * 32 + lane: its first row among the layer's keys
};

template <int kHeadDim, bool kPrecise>
__global__ void __launch_bounds__(DecodeShape<kHeadDim, kPrecise>::kThreads, 2)
    decode_kernel(const __grid_constant__ DecodeArgs args) {
  extern __shared__ __align__(128) unsigned char shared[];
  follow_stream();
  DecodeBlock<kHeadDim, kPrecise>(args, shared).run();
}

template <int kHeadDim, bool kPrecise>
void launch(const DecodeArgs& args, int64_t items, cudaStream_t stream) {
  using Shape = DecodeShape<kHeadDim, kPrecise>;
  const auto kernel = decode_kernel<kHeadDim, kPrecise>;
  static const int32_t resident =
      multiprocessor_count() *
      resident_blocks(reinterpret_cast<const void*>(kernel), Shape::kThreads, Shape::kSharedBytes);
  launch_following(kernel, static_cast<uint32_t>(std::min<int64_t>(items, resident)), Shape::kThreads,
                   Shape::kSharedBytes, stream, args);
}

}  // namespace

void attention_decode(const AttentionCall& call, int32_t first_seq, int32_t num_seqs,
                      const AttentionWorkspace& workspace, cudaStream_t stream) {
  const int32_t kv_heads = call.kv.num_kv_heads;
  const SplitPlan plan = call.step.num_tokens <= kFewRows
                             ? SplitPlan::of(kv_heads)
                             : SplitPlan::of_batch(kv_heads, call.step.num_seqs, multiprocessor_count());
  const DecodeArgs args{call,
                        first_seq,
                        num_seqs,
                        plan,
                        ceil_div(call.group, kWarpRows),
                        workspace.partial(),
                        workspace.partial_sums(),
                        workspace.arrivals()};
  // Blocks loop over a list that they make themselves from the lengths: the grid's size decides speed alone.
  const int64_t items = int64_t{num_seqs} * plan.splits(std::max(call.step.max_context, 1)) *
                        call.kv.num_kv_heads * args.row_tiles;
  with_cache_format(call.kv,
                    [&](auto head_dim, auto precise) { launch<head_dim(), precise()>(args, items, stream); });
}

}  // namespace qwend::cuda
