// What a block of the prompt kernel for Hopper is made of: its shared memory, the ring of tiles of keys and
// values that one warp fills, and a warpgroup's attention of 64 rows to a tile. Compiled for sm_90a alone.
#pragma once
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/tma.cuh"
#include "kernels/cuda/wgmma_attention.cuh"

namespace qwend::cuda::hopper {

inline constexpr int32_t kBoxRows = 16;  // keys of a box: blocks hold whole groups of 16
inline constexpr int32_t kBoxBytes = kBoxRows * kBoxCols * 2;
inline constexpr int32_t kKeys = 128;       // of a tile
inline constexpr int32_t kWarpgroup = 128;  // threads
inline constexpr int32_t kWarpgroups = 2;   // that attend; a warp of one more copies
inline constexpr int32_t kGroupRows = 64;   // rows of queries of a warpgroup
inline constexpr int32_t kRows = kWarpgroups * kGroupRows;
inline constexpr int32_t kThreads = (kWarpgroups + 1) * kWarpgroup;
// Registers of a thread: at launch, of those that attend, and of the others. Whole warpgroups give and take.
inline constexpr int kLaunchRegisters = 65536 / kThreads / 8 * 8, kAttendRegisters = 232;
inline constexpr int kCopyRegisters = 3 * kLaunchRegisters - 2 * kAttendRegisters;
static_assert(kLaunchRegisters == 168 && kCopyRegisters == 40);

// Parts of a block's shared memory, in bytes from its beginning. Everything that products read is
// [rows][64 columns] swizzled, one such tile for each 64 columns of a head.
template <int kHeadDim>
struct Layout {
  static constexpr int kColBoxes = kHeadDim / kBoxCols;
  static constexpr int kStages = kHeadDim == 64 ? 4 : 2;  // tiles of keys, and as many of values
  static constexpr int kKeyBytes = kKeys * kBoxCols * 2;  // of 64 columns of a tile
  static constexpr int kTileBytes = kColBoxes * kKeyBytes;
  static constexpr int kQueryBytes = kGroupRows * kBoxCols * 2;  // of 64 columns of a warpgroup's rows
  static constexpr int kQueryPlane = kColBoxes * kQueryBytes;    // high parts, then low parts
  static constexpr int kValuesAt = kStages * kTileBytes;
  static constexpr int kQueriesAt = 2 * kStages * kTileBytes;
  static constexpr int kBarriersAt = kQueriesAt + kWarpgroups * 2 * kQueryPlane;
  static constexpr int kBarriers = 4 * kStages + 1;
  static constexpr int kSharedBytes = kBarriersAt + kBarriers * 8;  // 160 KiB, 192 KiB
  static_assert(kSharedBytes <= 227 * 1024);                        // what Hopper grants a block
};

// Where one side of a ring stands. Places are filled (parity of the phase to wait for: 0, 1, ..) and freed.
template <int kStages>
struct RingPlace {
  int32_t stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// Keys and values in shared memory: tiles in order, each side a ring of kStages.
template <int kHeadDim>
class Ring {
  using L = Layout<kHeadDim>;

 public:
  using Place = RingPlace<L::kStages>;
  static constexpr int kReaders = kWarpgroups * kWarpgroup / kWarp;  // each warp says when it has read

  __device__ explicit Ring(uint32_t shared) : shared_(shared) {}

  __device__ void init() const {  // one thread
    for (int32_t stage = 0; stage < L::kStages; ++stage) {
      for (int32_t side = 0; side < 2; ++side) {
        barrier_init(full(side, stage), 1);
        barrier_init(free(side, stage), kReaders);
      }
    }
    barrier_init(landed(), 1);
  }

  // side 0: keys, 1: values
  __device__ __forceinline__ uint32_t tile(int32_t side, int32_t stage) const {
    return shared_ + side * L::kValuesAt + stage * L::kTileBytes;
  }
  __device__ __forceinline__ uint32_t full(int32_t side, int32_t stage) const {
    return shared_ + L::kBarriersAt + (side * L::kStages + stage) * 8;
  }
  __device__ __forceinline__ uint32_t free(int32_t side, int32_t stage) const {
    return full(side + 2, stage);
  }
  __device__ __forceinline__ uint32_t landed() const { return full(4, 0); }

 private:
  uint32_t shared_;
};

// ---- named barriers of a block's warpgroups (0 is __syncthreads())

// All threads of warpgroup w wait for each other.
__device__ __forceinline__ void warpgroup_sync(int32_t w) {
  asm volatile("bar.sync %0, %1;" ::"r"(1 + w), "n"(kWarpgroup) : "memory");
}
// Two warpgroups take turns in asking for products: while one's run, the other finds its weights. Warpgroup 0
// begins: warpgroup 1 passes its turn once before all else.
__device__ __forceinline__ void turn_pass(int32_t w) {
  asm volatile("bar.arrive %0, %1;" ::"r"(1 + kWarpgroups + (w ^ 1)), "n"(2 * kWarpgroup) : "memory");
}
__device__ __forceinline__ void turn_wait(int32_t w) {
  asm volatile("bar.sync %0, %1;" ::"r"(1 + kWarpgroups + w), "n"(2 * kWarpgroup) : "memory");
}

// ---- attention of a warpgroup's 64 rows

// The running state of a warp's 16 rows (attention_tile.cuh: WarpAttention), products by its warpgroup.
template <int kHeadDim>
struct RowState {
  using L = Layout<kHeadDim>;
  using Weights = uint32_t[kKeys / 16][4];  // A fragments over the keys
  float out[kHeadDim / 8][4];               // C fragments
  float scores[kKeys / 8][4];
  float maximum[2];  // of rows g and g + 8: the same in the four lanes of a row
  float sum[2];      // this lane's columns alone until finish()

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] = 0.0f;
    maximum[0] = maximum[1] = -INFINITY;
    sum[0] = sum[1] = 0.0f;
  }

  // Asks for the scores of a tile; low parts first, lest a large sum cut them off.
  __device__ __forceinline__ void ask_scores(uint32_t queries, uint32_t keys) {
    const uint64_t a = swizzled_operand(queries), b = swizzled_operand(keys);
    products_begin();
#pragma unroll
    for (int plane = 1; plane >= 0; --plane)
#pragma unroll
      for (int k = 0; k < kHeadDim / 16; ++k)
        product_shared(scores, operand_at(a, plane * L::kQueryPlane + k / 4 * L::kQueryBytes + k % 4 * 32),
                       operand_at(b, k / 4 * L::kKeyBytes + k % 4 * 32), plane == 0 || k > 0);
    products_commit();
  }

  // Asks for weights times values to be added to the sums.
  __device__ __forceinline__ void ask_values(Weights& weights, uint32_t values) {
    const uint64_t b = swizzled_rows(values, L::kKeyBytes);
    hold(out);
    hold(weights);
    products_begin();
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) multiply_values(out, weights[k], operand_at(b, k * 2048));
    products_commit();
  }

  // The first visible[r] keys count for row g + 8 r.
  __device__ __forceinline__ void hide(const int32_t (&visible)[2]) {
    const int32_t column = lane_index() % 4 * 2;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (n * 8 + column + i % 2 >= visible[i / 2]) scores[n][i] = -INFINITY;
  }

  // Scores to weights relative to the running maximum; rescale: what the sums over earlier tiles, those of
  // values too, are to be multiplied by. The first tile must show every row a key.
  __device__ __forceinline__ void find_weights(Weights& weights, float (&rescale)[2]) {
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = scores[0][2 * r];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) top = fmaxf(top, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
      top = fmaxf(maximum[r], lanes_max<4>(top));
      rescale[r] = exp2_fast(maximum[r] - top);
      maximum[r] = top;
      shift[r] = top - kWeightShift;
      sum[r] *= rescale[r];
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const __half2 pair = __floats2half2_rn(exp2_fast(scores[n][2 * r] - shift[r]),
                                               exp2_fast(scores[n][2 * r + 1] - shift[r]));
        const float2 rounded = __half22float2(pair);  // the sum is that of the weights in use
        sum[r] += rounded.x + rounded.y;
        weights[n / 2][n % 2 * 2 + r] = half2_bits(pair);
      }
  }

  __device__ __forceinline__ void scale_out(const float (&by)[2]) {
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] *= by[i / 2];
  }

  // Completes the sums and divides by them; call once, last.
  __device__ __forceinline__ void finish() {
    sum[0] = lanes_sum<4>(sum[0]);
    sum[1] = lanes_sum<4>(sum[1]);
    const float inverse[2] = {1.0f / sum[0], 1.0f / sum[1]};
    scale_out(inverse);
  }
};

}  // namespace qwend::cuda::hopper
