// Prompt attention by warpgroups over a paged FP16 cache (FlashAttention-3's division of labour). Compiled
// for sm_90a alone.
//
// A multiprocessor has one block, which takes tile after tile of 128 rows (attention_rows.cuh). One warp
// copies tiles of 128 keys and of 128 values into rings; two warpgroups attend 64 rows each. A warpgroup asks
// for the scores of a tile together with the product of the weights and values of the tile before, and finds
// the new weights while the latter and the other warpgroup's products run.
//
// Tiles of keys start at multiples of kKeys of the context, whichever chunk the tokens came in, and tiles
// that a row can't see leave it bit for bit as it was: a token's result depends on its own context alone.
#include <algorithm>
#include <limits>

#include "kernels/check.h"
#include "kernels/cuda/attention_hopper.cuh"
#include "kernels/cuda/error.h"

namespace qwend::cuda {
namespace {

using namespace hopper;

struct HopperCall {
  AttentionCall call;
  CUtensorMap keys, values;  // of the layer: [all tokens of all blocks and heads, hd], boxes of kBoxRows
};

// A block's tiles of rows, for each of its warps the same. Lists are sorted by length more or less; blocks
// take items there and back again (block b of B: b, 2 B - 1 - b, 2 B + b, ..), so that all get alike.
class Work {
 public:
  __device__ explicit Work(const AttentionCall& call) : tiles_(call) {}
  __device__ RowTile next() {
    const auto block = static_cast<int32_t>(blockIdx.x), blocks = static_cast<int32_t>(gridDim.x);
    const int32_t item = round_ * blocks + (round_ % 2 == 0 ? block : blocks - 1 - block);
    ++round_;
    return tiles_.find(item);
  }

 private:
  RowTiles<kRows> tiles_;
  int32_t round_ = 0;
};

// ---- the warp that copies

template <int kHeadDim>
class Producer {
  using L = Layout<kHeadDim>;
  static constexpr int kGroups = kKeys / kBoxRows, kBoxes = kGroups * L::kColBoxes;  // of a tile: 8, 16
  static constexpr int32_t kNowhere = -kBoxRows;  // a box before the first row: zeros, and nothing is read

 public:
  __device__ Producer(const HopperCall& h, unsigned char* shared)
      : h_(h), shared_(shared), ring_(shared_address(shared)) {}

  __device__ void run() {
    if (lane_index() == 0) prefetch_map(h_.keys), prefetch_map(h_.values);
    Work work(h_.call);
    for (RowTile t = work.next(); t.seq >= 0; t = work.next()) copy_all(t);
  }

 private:
  __device__ void copy_all(const RowTile& t) {
    const int32_t tiles = ceil_div(t.keys, kKeys);
    // Beyond the context may lie anything, and a weight of zero times NaN is NaN.
    const bool ragged = t.context() % kBoxRows != 0 && (t.keys - 1) / kBoxRows == t.context() / kBoxRows;
    int32_t row = row_of_box(t, 0);
    for (int32_t tile = 0; tile < tiles; ++tile) {
      const int32_t next_row = row_of_box(t, tile + 1);  // found before it is waited for
      wait_free(0);
      copy(0, h_.keys, row, ring_.full(0, place_.stage));
      wait_free(1);
      if (ragged && tile == tiles - 1) {
        copy(1, h_.values, row, ring_.landed());
        clear_from(t.context() - tile * kKeys);
      } else {
        copy(1, h_.values, row, ring_.full(1, place_.stage));
      }
      place_.advance();
      row = next_row;
    }
  }

  // Lane l copies 16 keys, 64 columns of them (copy()): the row in the layer where the first of them lies.
  __device__ int32_t row_of_box(const RowTile& t, int32_t tile) const {
    const KvLayer& kv = h_.call.kv;
    const int32_t key = tile * kKeys + lane_index() % kGroups * kBoxRows;
    if (key >= t.keys) return kNowhere;
    const DeviceStep& step = h_.call.step;
    const int32_t* const table = step.block_tables + int64_t{t.seq} * __ldg(step.block_table_stride);
    const int32_t block = key / kv.block_size;
    return (__ldg(table + block) * kv.num_kv_heads + t.kv_head) * kv.block_size + key - block * kv.block_size;
  }

  __device__ void wait_free(int32_t side) const {
    barrier_wait(ring_.free(side, place_.stage), place_.parity ^ 1);  // the first time all are free
  }

  __device__ void copy(int32_t side, const CUtensorMap& map, int32_t row, uint32_t barrier) const {
    const int32_t box = lane_index();
    if (box == 0) barrier_arrive_expecting(barrier, 1, L::kTileBytes);
    __syncwarp();
    if (box < kBoxes)
      copy_box(ring_.tile(side, place_.stage) + box * kBoxBytes, map, row, box / kGroups * kBoxCols, barrier);
    __syncwarp();
  }

  // Waits for the tile of values; its rows from `first` to the end of their group become zeros.
  __device__ void clear_from(int32_t first) {
    barrier_wait(ring_.landed(), landed_parity_);
    landed_parity_ ^= 1;
    const int32_t rows = ceil_div(first, kBoxRows) * kBoxRows - first;
    unsigned char* const tile = shared_ + L::kValuesAt + place_.stage * L::kTileBytes;
    for (int32_t i = lane_index(); i < rows * 8 * L::kColBoxes; i += kWarp) {
      const int32_t columns = i / 8 / rows, row = first + i / 8 % rows;
      *reinterpret_cast<uint4*>(tile + columns * L::kKeyBytes + row * kBoxCols * 2 + i % 8 * 16) =
          make_uint4(0, 0, 0, 0);
    }
    shared_before_async();
    __syncwarp();
    if (lane_index() == 0) barrier_arrive(ring_.full(1, place_.stage));
  }

  const HopperCall& h_;
  unsigned char* shared_;
  Ring<kHeadDim> ring_;
  typename Ring<kHeadDim>::Place place_;
  uint32_t landed_parity_ = 0;
};

// ---- the warpgroups that attend

template <int kHeadDim>
class Consumer {
  using L = Layout<kHeadDim>;
  using State = RowState<kHeadDim>;
  using Weights = typename State::Weights;
  static constexpr int kChunks = kHeadDim / 8;  // of 16 bytes, in a row of halves

 public:
  __device__ Consumer(const AttentionCall& call, unsigned char* shared, int32_t warp)
      : call_(call),
        ring_(shared_address(shared)),
        group_(warp / 4),
        warp_row_(warp * kWarpRows),
        queries_(shared + L::kQueriesAt + warp / 4 * 2 * L::kQueryPlane) {}

  __device__ void run() {
    if (group_ == 1) turn_pass(1);
    Work work(call_);
    for (RowTile t = work.next(); t.seq >= 0; t = work.next()) attend(t);
    if (group_ == 0) turn_wait(0);  // the last turn that warpgroup 1 has passed on
  }

 private:
  __device__ __forceinline__ void attend(const RowTile& t) {
    const int32_t tiles = ceil_div(t.keys, kKeys), row = t.first_row + warp_row_ + lane_index() / 4;
    seen_[0] = t.keys_seen(row), seen_[1] = t.keys_seen(row + 8);
    all_see_ = t.keys_seen(t.first_row + warp_row_);
    load_queries(t);

    State state;
    Weights even, odd;
    state.clear();
    first_step(state, even);
    int32_t tile = 1;
#pragma unroll 1
    for (; tile + 1 < tiles; tile += 2) {
      step(state, tile, even, odd);
      step(state, tile + 1, odd, even);
    }
    if (tile < tiles) {
      step(state, tile, even, odd);
      last_step(state, odd);
    } else {
      last_step(state, even);
    }
    state.finish();
    store(t, state);
  }

  // The tile that keys_ stands at: its scores, waited for, and its weights.
  __device__ __forceinline__ void first_step(State& state, Weights& weights) {
    barrier_wait(ring_.full(0, keys_.stage), keys_.parity);
    state.ask_scores(shared_address(queries_), ring_.tile(0, keys_.stage));
    products_wait<0>();
    hold(state.scores);
    release(0, keys_);
    float rescale[2];
    hide(state, 0);
    state.find_weights(weights, rescale);
  }

  // Adds the values of the tile before, by their weights, and finds the weights of this one.
  __device__ __forceinline__ void step(State& state, int32_t tile, Weights& before, Weights& weights) {
    barrier_wait(ring_.full(0, keys_.stage), keys_.parity);
    turn_wait(group_);
    state.ask_scores(shared_address(queries_), ring_.tile(0, keys_.stage));
    barrier_wait(ring_.full(1, values_.stage), values_.parity);
    state.ask_values(before, ring_.tile(1, values_.stage));
    turn_pass(group_);
    products_wait<1>();
    hold(state.scores);
    release(0, keys_);
    float rescale[2];
    hide(state, tile);
    state.find_weights(weights, rescale);
    pin(state.sum[0] + state.sum[1], shared_address(queries_));
    products_wait<0>();
    hold(state.out);
    release(1, values_);
    state.scale_out(rescale);
  }

  __device__ __forceinline__ void last_step(State& state, Weights& before) {
    barrier_wait(ring_.full(1, values_.stage), values_.parity);
    state.ask_values(before, ring_.tile(1, values_.stage));
    products_wait<0>();
    hold(state.out);
    release(1, values_);
  }

  __device__ __forceinline__ void hide(State& state, int32_t tile) const {
    const int32_t first_key = tile * kKeys;
    if (all_see_ < first_key + kKeys) state.hide({seen_[0] - first_key, seen_[1] - first_key});
  }

  __device__ __forceinline__ void release(int32_t side, typename Ring<kHeadDim>::Place& place) {
    if (lane_index() == 0) barrier_arrive(ring_.free(side, place.stage));
    place.advance();
  }

  // Registers are scarce: where a lane's rows lie is found anew for each tile.
  __device__ __forceinline__ static int32_t lane_anew() {
    int32_t lane = lane_index();
    asm volatile("" : "+r"(lane));
    return lane;
  }

  // Where 16 bytes `chunk` of a row of this warpgroup stand, in the plane of high parts.
  __device__ __forceinline__ unsigned char* query_chunk(int32_t row, int32_t chunk) const {
    return queries_ + chunk / 8 * L::kQueryBytes + row * kBoxCols * 2 + ((chunk ^ row) & 7) * 16;
  }

  // This warp's 16 rows, scaled, as the sum of two halves each (attention_tile.cuh: Queries); zeros past the
  // end. No other warp writes to these rows, and no product reads them.
  __device__ void load_queries(const RowTile& t) {
    const int32_t lane = lane_anew();
#pragma unroll
    for (int i = 0; i < kWarpRows * kChunks / kWarp; ++i) {
      const int32_t at = i * kWarp + lane, in_tile = warp_row_ + at / kChunks, chunk = at % kChunks;
      const int32_t row = t.first_row + in_tile;
      float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f), y = x;
      if (t.has(row)) {
        const float* const from =
            call_.q + (int64_t{t.token(row)} * call_.num_heads + t.head(row)) * kHeadDim + chunk * 8;
        x = *reinterpret_cast<const float4*>(from), y = *reinterpret_cast<const float4*>(from + 4);
      }
      const float scale = call_.query_scale;
      uint4 high, low;
      split_pair(x.x * scale, x.y * scale, high.x, low.x);
      split_pair(x.z * scale, x.w * scale, high.y, low.y);
      split_pair(y.x * scale, y.y * scale, high.z, low.z);
      split_pair(y.z * scale, y.w * scale, high.w, low.w);
      unsigned char* const to = query_chunk(in_tile % kGroupRows, chunk);
      *reinterpret_cast<uint4*>(to) = high;
      *reinterpret_cast<uint4*>(to + L::kQueryPlane) = low;
    }
    shared_before_async();
    warpgroup_sync(group_);
  }

  // This warp's 16 rows, through its queries' place in shared memory, so that whole rows are written.
  __device__ void store(const RowTile& t, const State& state) {
    warpgroup_sync(group_);  // no product reads queries any more
    const int32_t lane = lane_anew(), first = warp_row_ % kGroupRows;
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n)
#pragma unroll
      for (int r = 0; r < 2; ++r)
        reinterpret_cast<uint32_t*>(query_chunk(first + lane / 4 + 8 * r, n))[lane % 4] =
            pack_half2(state.out[n][2 * r], state.out[n][2 * r + 1]);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kWarpRows * kChunks / kWarp; ++i) {
      const int32_t at = i * kWarp + lane, in_warp = at / kChunks, chunk = at % kChunks;
      const int32_t row = t.first_row + warp_row_ + in_warp;
      if (t.has(row))
        *reinterpret_cast<uint4*>(call_.out.halves + t.token(row) * call_.out.halves_stride +
                                  t.head(row) * kHeadDim + chunk * 8) =
            *reinterpret_cast<const uint4*>(query_chunk(first + in_warp, chunk));
    }
    __syncwarp();  // before the next queries come here
  }

  const AttentionCall& call_;
  Ring<kHeadDim> ring_;
  typename Ring<kHeadDim>::Place keys_, values_;
  int32_t group_;           // which warpgroup of the block this is
  int32_t warp_row_;        // this warp's first row in the tile
  int32_t seen_[2];         // keys that rows g and g + 8 of this lane see
  int32_t all_see_;         // keys that all rows of this warp see
  unsigned char* queries_;  // this warpgroup's
};

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1) hopper_prefill_kernel(const __grid_constant__ HopperCall h) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const int32_t warp = __shfl_sync(kAllLanes, warp_index(), 0);
  if (threadIdx.x == 0) {
    Ring<kHeadDim>(shared_address(shared)).init();
    asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory");
  }
  __syncthreads();
  follow_stream();
  if (warp >= kRows / kWarpRows) {
    give_registers<kCopyRegisters>();
    if (warp == kRows / kWarpRows) Producer<kHeadDim>(h, shared).run();
  } else {
    take_registers<kAttendRegisters>();
    Consumer<kHeadDim>(h.call, shared, warp).run();
  }
}

template <int kHeadDim>
void launch(const AttentionCall& call, cudaStream_t stream) {
  const auto kernel = hopper_prefill_kernel<kHeadDim>;
  constexpr int kSharedBytes = Layout<kHeadDim>::kSharedBytes;
  static const int32_t resident =
      resident_blocks(reinterpret_cast<const void*>(kernel), kThreads, kSharedBytes);
  // How many rows there are the layer doesn't say; kv_cache.h: row numbers fit 32 bits.
  constexpr int64_t kAnyRow = std::numeric_limits<int32_t>::max();
  const HopperCall h{call, tensor_map(call.kv.keys, kAnyRow, kHeadDim, kHeadDim, kBoxRows),
                     tensor_map(call.kv.values, kAnyRow, kHeadDim, kHeadDim, kBoxRows)};
  const int64_t blocks = std::min<int64_t>(RowTiles<kRows>::most(call), resident * multiprocessor_count());
  launch_following(kernel, static_cast<uint32_t>(blocks), kThreads, kSharedBytes, stream, h);
}

}  // namespace

void attention_prefill_hopper(const AttentionCall& call, cudaStream_t stream) {
  CHECK(!call.kv.precise() && call.out.halves_stride % 8 == 0);
  CHECK(reinterpret_cast<uintptr_t>(call.out.halves) % 16 == 0 &&
        reinterpret_cast<uintptr_t>(call.q) % 16 == 0);
  if (call.kv.head_dim == 64) return launch<64>(call, stream);
  CHECK(call.kv.head_dim == 128);
  launch<128>(call, stream);
}

}  // namespace qwend::cuda
