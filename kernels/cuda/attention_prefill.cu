// Prefill: sequences with several tokens in the step (FlashAttention-2 over the paged cache).
//
// A block takes a tile of rows of one sequence and KV head. Row r is query head r % group of the sequence's
// token r / group, so that all heads of a group share the loads of their keys and values; each warp has 16
// rows. Tiles of keys start at multiples of kKeys of the context, whichever chunk the tokens came in, and
// tiles that a row can't see leave it bit for bit as it was: a token's result depends on its own context
// alone.
#include <algorithm>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace qwend::cuda {
namespace {

template <int kHeadDim, bool kPrecise>
struct PrefillShape {
  static constexpr int kWarps = kHeadDim <= 128 ? 4 : 2;
  static constexpr int kThreads = kWarps * kWarp;
  // Of a multiprocessor: as many as have registers. Their warps are not in step: while some find weights,
  // others multiply.
  static constexpr int kBlocks = kHeadDim == 64 && !kPrecise ? 3 : 2;
  static constexpr int kRows = kWarps * kWarpRows;
  // Of a tile. Precise: as many as leave the registers room for both halves.
  static constexpr int kKeys = kPrecise ? (kHeadDim == 64 ? 32 : 16) : kHeadDim <= 128 ? 64 : 32;
  using Warp = WarpAttention<kHeadDim, kKeys, kPrecise>;
  static constexpr int kStages = 2;
  static constexpr int kTileHalves = Warp::kPlanes * Warp::kPlaneHalves;
  static constexpr int kQueryBytes = Queries<kHeadDim>::kSharedBytesPerWarp;
  static constexpr int kQueriesAt = kStages * kTileHalves * 2;            // bytes, behind the tiles
  static constexpr int kSharedBytes = kQueriesAt + kWarps * kQueryBytes;  // 32, 64, 96 KiB
  static_assert(kSharedBytes <= 99 * 1024);  // what every device since sm_80 grants a block
};

template <int kHeadDim, bool kPrecise>
class PrefillBlock {
  using Shape = PrefillShape<kHeadDim, kPrecise>;
  static constexpr int kChunks = kHeadDim / 8;  // of 16 bytes, in a row

 public:
  __device__ PrefillBlock(const AttentionCall& call, unsigned char* shared) : call_(call), shared_(shared) {}

  __device__ void run() {
    const RowTile t = RowTiles<Shape::kRows>(call_).find(static_cast<int32_t>(blockIdx.x));
    if (t.seq >= 0) attend(t);
  }

 private:
  __device__ void attend(const RowTile& t) {
    const int32_t tiles = ceil_div(t.keys, Shape::kKeys);
    fetch(t, 0);
    copy_async_commit();

    const int32_t warp_row = t.first_row + warp_index() * kWarpRows, row = warp_row + lane_index() / 4;
    typename Shape::Warp state;
    state.queries.load(
        query(t, row), query(t, row + 8), call_.query_scale,
        reinterpret_cast<uint4*>(shared_ + Shape::kQueriesAt + warp_index() * Shape::kQueryBytes));
    state.clear();
    // Keys that rows see: rows g and g + 8 of the lane, and the warp's last row (none where all its rows are
    // past the end).
    const int32_t seen[2] = {t.keys_seen(row), t.keys_seen(row + 8)};
    const int32_t warp_seen = t.has(warp_row) ? t.keys_seen(warp_row + kWarpRows - 1) : 0;

    for (int32_t tile = 0; tile < tiles; ++tile) {
      copy_async_wait<0>();
      __syncthreads();  // the tile is there, and the one before is no longer read
      if (tile + 1 < tiles) fetch(t, tile + 1);
      copy_async_commit();
      const int32_t first_key = tile * Shape::kKeys;
      if (first_key < warp_seen) state.attend(stage(tile), {seen[0] - first_key, seen[1] - first_key});
    }
    state.finish();
    store(t, row, state, 0);
    store(t, row + 8, state, 1);
  }

  __device__ const float* query(const RowTile& t, int32_t row) const {
    if (!t.has(row)) return nullptr;
    return call_.q + (int64_t{t.token(row)} * call_.num_heads + t.head(row)) * kHeadDim;
  }

  __device__ __half* stage(int32_t tile) const {
    return reinterpret_cast<__half*>(shared_) + tile % Shape::kStages * Shape::kTileHalves;
  }

  // Starts the copy of a tile of keys and values, all threads together; tiles come in ascending order. Rows
  // that no row of queries sees become zeros. Blocks hold whole groups of 16 keys, and where those are is
  // looked up for 32 of them at a time, a lane each: all warps wait for it before they multiply.
  __device__ void fetch(const RowTile& t, int32_t tile) {
    constexpr int kGroup = 16, kGroups = Shape::kKeys / kGroup, kTilesKnown = kWarp / kGroups;
    const int32_t first_key = tile * Shape::kKeys;
    if (tile % kTilesKnown == 0) {
      const int32_t key = min(first_key + lane_index() * kGroup, (t.keys - 1) / kGroup * kGroup);
      const int32_t* table = call_.step.block_tables + int64_t{t.seq} * __ldg(call_.step.block_table_stride);
      const int32_t block = __ldg(table + key / call_.kv.block_size);
      row_of_group_ =
          (block * call_.kv.num_kv_heads + t.kv_head) * call_.kv.block_size + key % call_.kv.block_size;
    }
    // A thread copies the same chunk of rows that lie kRowsAtOnce apart.
    constexpr int kRowsAtOnce = Shape::kThreads / kChunks, kPlane = Shape::Warp::kPlaneHalves;
    auto thread = static_cast<int32_t>(threadIdx.x);
    asm volatile("" : "+r"(thread));  // registers are scarce: addresses are made for each tile, none is kept
    const int32_t first_row = thread / kChunks, chunk = thread % kChunks;
#pragma unroll(kPrecise ? 2 : 4)
    for (int row = first_row, i = 0; i < Shape::kKeys / kRowsAtOnce; ++i, row += kRowsAtOnce) {
      const int32_t lane = tile % kTilesKnown * kGroups + row / kGroup;
      const int32_t from = __shfl_sync(kAllLanes, row_of_group_, lane) + row % kGroup;
      const int64_t at = int64_t{from} * kHeadDim + chunk * 8;
      const bool seen = first_key + row < t.keys;
      __half* to = stage(tile) + tile_offset<kHeadDim>(row, chunk);
      copy_async_16(to, call_.kv.keys + at, seen);
      copy_async_16(to + kPlane, call_.kv.values + at, seen);
      if constexpr (kPrecise) {
        copy_async_16(to + 2 * kPlane, call_.kv.keys_low + at, seen);
        copy_async_16(to + 3 * kPlane, call_.kv.values_low + at, seen);
      }
    }
  }

  __device__ void store(const RowTile& t, int32_t row, const typename Shape::Warp& state, int r) const {
    if (!t.has(row)) return;
    const int64_t token = t.token(row);
    const int32_t at = t.head(row) * kHeadDim + lane_index() % 4 * 2;
    const float inverse = 1.0f / state.sum[r];
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      const float x = state.out[n][2 * r] * inverse, y = state.out[n][2 * r + 1] * inverse;
      if constexpr (kPrecise) {
        float* to = call_.out.values + token * call_.num_heads * kHeadDim + at;
        *reinterpret_cast<float2*>(to + n * 8) = make_float2(x, y);
      } else {
        __half* to = call_.out.halves + token * call_.out.halves_stride + at;
        *reinterpret_cast<uint32_t*>(to + n * 8) = pack_half2(x, y);
      }
    }
  }

  const AttentionCall& call_;
  unsigned char* shared_;
  int32_t row_of_group_ = 0;  // of this lane's group of keys: its first row among the layer's keys
};

template <int kHeadDim, bool kPrecise>
__global__ void __launch_bounds__(PrefillShape<kHeadDim, kPrecise>::kThreads,
                                  PrefillShape<kHeadDim, kPrecise>::kBlocks)
    prefill_kernel(const __grid_constant__ AttentionCall call) {
  extern __shared__ __align__(128) unsigned char shared[];
  PrefillBlock<kHeadDim, kPrecise>(call, shared).run();
}

template <int kHeadDim, bool kPrecise>
void launch(const AttentionCall& call, cudaStream_t stream) {
  using Shape = PrefillShape<kHeadDim, kPrecise>;
  const auto kernel = prefill_kernel<kHeadDim, kPrecise>;
  static const int32_t resident =
      resident_blocks(reinterpret_cast<const void*>(kernel), Shape::kThreads, Shape::kSharedBytes);
  static_cast<void>(resident);
  cudaLaunchConfig_t config{};
  config.gridDim =
      dim3(static_cast<uint32_t>(RowTiles<Shape::kRows>::most(call)));  // idle ones leave at once
  config.blockDim = dim3(Shape::kThreads);
  config.dynamicSmemBytes = Shape::kSharedBytes;
  config.stream = stream;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, call));
}

}  // namespace

void attention_prefill(const AttentionCall& call, cudaStream_t stream) {
  if (has_warpgroup_products() && !call.kv.precise() && call.kv.head_dim <= 128)
    return attention_prefill_hopper(call, stream);
  with_cache_format(call.kv,
                    [&](auto head_dim, auto precise) { launch<head_dim(), precise()>(call, stream); });
}

}  // namespace qwend::cuda
