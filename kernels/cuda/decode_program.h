// A whole decode step of one row as one kernel.
//
// With one token a step, a layer is five small operations, each of which would leave most of the device idle
// while it starts and ends. Here one persistent CTA a multiprocessor runs all layers. What it does is a table
// (DecodeProgram) made once from the ops that the model's forward pass calls:
//
//   layer: AttnInput   x += down's sums;      RMSNorm; q, k, v   = W n        -> partial sums
//          Attention   bias, QK-norm, RoPE, cache write; split-KV attention   -> partial results
//          AttnOutput  join the splits;                o         = W a        -> partial sums
//          GateUp      x += o's sums;         RMSNorm; gate, up  = W n        -> partial sums
//          Down        silu(gate) * up;                down      = W h        -> partial sums
//   Logits             x += down's sums;      RMSNorm; logits    = W n
//
// CTAs never meet at a barrier. Every value that travels carries its layer's number, and whoever needs it
// reads until the number is right (decode_line.cuh): one way through L2 instead of a fence, a count, a poll
// and a read. Every CTA makes the phase's input row for itself (decode_row.cuh), and keeps x; joined splits
// alone, which are much to read, are made once for all (decode_joined_row.cuh). Weights depend on nothing, so
// each warp streams its share of all matrices through a ring of its own in shared memory, ahead of the phase
// that it computes (decode_stream.cuh): memory stays busy while CTAs wait for each other.
//
// A line is overwritten one layer later, and only then is its reader done with it, because every CTA has a
// share of gate and up: to write into layer n + 1's place takes sums that hang on every CTA's layer n.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/decode_layout.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/step.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

inline constexpr int kDecodeWarps = 11;
inline constexpr int kDecodeSuperTiles = 4;       // that share super-scales
inline constexpr int kDecodeSuperArea = 128;      // bytes of a unit's super-scales, before its tiles
inline constexpr int kMaxDecodeUnitBytes = 5120;  // eight tiles of 640
inline constexpr int kDecodeHalfTileBytes = kTileRows * kTileCols * 2;

// Matrices of a kind, one a layer.
enum DecodeKind : uint8_t { kQkv, kAttnOutput, kGateUp, kDown, kOutput, kDecodeKinds };

// What products read of their input row (decode_row.cuh): block formats bytes, FP16 halves.
enum DecodeRowParts : uint8_t { kRowNothing = 0, kRowBytes = 1, kRowHalves = 2 };

// How one part of a matrix is cut up; shared by all layers whose part looks the same. A tile is 16 rows x 64
// columns.
struct DecodeShape {
  DType dtype;
  DecodeKind kind;
  bool whole_rows;                   // a CTA's share begins and ends with whole row tiles
  int32_t row_tiles, tiles;          // tiles: of a row tile
  int32_t col_blocks;                // groups of CTAs that take a stretch of columns each
  int32_t first_row;                 // of the part, in the matrix
  int32_t tile_bytes;                // of a tile itself
  int32_t row_tile_step, tile_step;  // bytes from a row tile to the next, from a tile to its neighbour
  int32_t pitch;                     // FP16: bytes of a row; block formats: 0
  int32_t super_bytes;               // of WeightPart::supers, of a row tile and 256 columns
  int32_t super_row_bytes;           // of a row tile
  int32_t unit_tiles;                // what a warp takes at once, at most: decode_unit_tiles()
  int32_t slots_a_group;             // DecodeMatmul::slots of its matrix, of one group
};

// Tiles of a unit: two of FP16, four of eight bits. Small tiles go by eight: with four of Q4_K asking for a
// unit and going on to the next were half of a warp's instructions.
__host__ __device__ constexpr int32_t decode_unit_tiles(int32_t tile_bytes) {
  return tile_bytes <= 640 ? 8 : tile_bytes < kDecodeHalfTileBytes ? 4 : 2;
}

struct DecodeProduct {
  const std::byte* data;
  const std::byte* supers;
  int32_t shape;  // index
};

// What those of a kind share. Sums go to sums[slot][rows / 2], pairs (decode_line.cuh), slots to be added up
// by the reader; those that no CTA needs for a row tile are written as zeros. kOutput: no sums, the logits
// themselves.
struct DecodeMatmul {
  int32_t cols;  // padded to 64
  int32_t rows, slots, col_blocks;
  uint64_t* sums;
};

struct DecodeLayer {
  const float* attn_norm;
  const float* ffn_norm;
  const float* bias;    // [(H + 2K) * hd] or nullptr
  const float* q_norm;  // [hd] or nullptr
  const float* k_norm;
  __half* keys;
  __half* values;
  // By DecodeKind: parts of the matrix, and what they read of the input row (decode_row.cuh).
  uint8_t num_products[kOutput], row_parts[kOutput];
};

// Attention's joined row on its way to all CTAs (decode_joined_row.cuh), words of 8 bytes; nullptr: a part
// that no matrix reads. Four copies, `step` words apart, so that not all CTAs ask for the same lines.
inline constexpr uint32_t kRowCopies = 4;
struct RowPlaces {
  uint32_t step;
  uint64_t* bytes;        // [cols / 4]
  uint64_t* groups;       // [cols / 32][2]
  uint64_t* halves;       // [cols / 4][2]
  uint64_t* half_groups;  // [cols / 32][2]
};

// What the kernel is given; device pointers.
struct DecodeTable {
  const DecodeProduct* products;  // in the order of execution
  const CUtensorMap* maps;        // [products] of those of FP16, by boxes of a tile, from sm_90 on
  const DecodeShape* shapes;
  const DecodeLayer* layers;
  int32_t num_products, num_shapes, num_layers, num_output_products;
  uint8_t output_row_parts;
  DecodeMatmul matmuls[kDecodeKinds];
  const float* output_norm;
  float attn_eps, ffn_eps, output_eps, qk_eps;
  int32_t width, ffn;   // of x and h
  float inverse_width;  // 1 / width
  AttentionShape attention;
  int32_t block_shift;     // log2 of the cache's block size
  float query_scale;       // log2(e) / sqrt(hd)
  int32_t max_splits;      // SplitPlan
  const float* embedding;  // [width] that the step begins with
  uint64_t* split_out;     // pairs [H, max_splits, hd / 2]
  uint64_t* split_sums;    // pairs [H, max_splits] (maximum, sum)
  RowPlaces joined;
  // Sizes in shared memory: bytes of the largest unit, results of row tiles in a CTA, input columns of a CTA,
  // as block formats read them and as FP16 does.
  int32_t slot_bytes, max_records, byte_cols, half_cols;
  // For racecheck (QWEND_RACECHECK is set): one lane of the producer after the other asks for its copies.
  // They are instructions of the warp's, done once for each lane that is there, and the tool takes all of
  // them for those of lanes that have not seen the others' places read. A sixth slower.
  bool lanes_in_turn;
};

// Made once, by the same calls as the forward pass, layer by layer; then launched for any step that decodes
// one token. Owns its tables and scratch. One thread.
class DecodeProgram {
 public:
  // Whether the kernel multiplies by such a matrix.
  static bool serves(const CudaMatrix& w);
  static bool serves(const AttentionShape& shape, const RopeTable& rope);
  static bool serves(const KvCacheSpec& cache);

  DecodeProgram();

  // One layer after the other; then logits, which completes the program and takes its memory.
  struct AttnInput {
    const float* norm;
    float eps;
    const CudaMatrix& qkv;
    const float* bias;
    const float* q_norm;
    const float* k_norm;
    AttentionShape shape;
    KvLayer kv;
  };
  void attn_input(const AttnInput& op);
  void attn_output(const CudaMatrix& w);
  void gate_up(const float* norm, float eps, const CudaMatrix& w);
  void down(const CudaMatrix& w);
  void logits(const float* norm, float eps, const CudaMatrix& w);

  bool complete() const { return complete_; }
  bool fits() const { return layout_.fits(); }            // into the device's shared memory, once complete
  float* embedding() const { return embedding_.data(); }  // [width]: what launch() begins with
  // logits: [V]. step: one row. rope: attention.h.
  void launch(const DeviceStep& step, const float2* rope, float* logits, cudaStream_t stream);

 private:
  struct Noted {
    const CudaMatrix* matrix;
    DecodeKind kind;
  };
  void note(const CudaMatrix& w, DecodeKind kind);
  int32_t smallest_gate_up() const;
  void cut(const CudaMatrix& w, DecodeKind kind);  // into products
  int32_t shape_of(const WeightPart& part, DecodeKind kind);
  void measure_shared();
  void place_joined_row();
  void finish();

  int32_t ctas_ = 0;
  bool complete_ = false;
  uint32_t formats_ = 0;     // of all matrices: bit DType
  uint32_t layers_run_ = 0;  // numbers given to layers of all launches so far
  DecodeTable table_{};
  decode::Layout layout_{};
  std::vector<Noted> noted_;
  std::vector<DecodeProduct> products_;
  std::vector<CUtensorMap> maps_;
  std::vector<DecodeShape> shapes_;
  std::vector<DecodeLayer> layers_;
  DeviceBuffer<DecodeProduct> device_products_;
  DeviceBuffer<CUtensorMap> device_maps_;
  DeviceBuffer<DecodeShape> device_shapes_;
  DeviceBuffer<DecodeLayer> device_layers_;
  DeviceBuffer<float> embedding_;
  DeviceBuffer<uint64_t> sums_[kOutput], split_out_, split_sums_, joined_;
};

// What CTA `cta` of `num_ctas` multiplies by of a part: tiles [begin, end) of its group's list, in which row
// tile follows row tile, each with the tiles col_begin .. col_end of the group's stretch of columns.
struct DecodeShare {
  int32_t begin, end;
  int32_t col_begin, col_end;
  int32_t first_tile;   // row tile of tile `begin`
  int32_t group, ctas;  // stretch of columns, CTAs that share it
  int32_t index;        // of the CTA in its group
};
// Stretches of columns begin at multiples of so many tiles: of 256 columns where rows are made of those.
__host__ __device__ constexpr int32_t decode_column_step(int32_t tiles) {
  return tiles % kDecodeSuperTiles == 0 ? kDecodeSuperTiles : 1;
}
// Columns of the widest stretch.
__host__ __device__ inline int32_t decode_block_cols(const DecodeMatmul& m) {
  const int32_t step = decode_column_step(m.cols / kTileCols), steps = m.cols / kTileCols / step;
  return (steps + m.col_blocks - 1) / m.col_blocks * step * kTileCols;
}
__host__ __device__ inline int32_t decode_share_begin(const DecodeShape& s, int32_t width, int32_t index,
                                                      int32_t ctas) {
  if (s.whole_rows) return s.row_tiles * index / ctas * width;
  return static_cast<int32_t>(int64_t{s.row_tiles} * width * index / ctas);
}
__host__ __device__ inline DecodeShare decode_share(const DecodeShape& s, int32_t cta, int32_t num_ctas) {
  DecodeShare share{};
  share.ctas = num_ctas / s.col_blocks;
  share.group = cta / share.ctas, share.index = cta % share.ctas;
  if (share.group >= s.col_blocks) return share;  // left over: nothing to do
  const int32_t step = decode_column_step(s.tiles);
  share.col_begin = s.tiles / step * share.group / s.col_blocks * step;
  share.col_end = s.tiles / step * (share.group + 1) / s.col_blocks * step;
  const int32_t width = share.col_end - share.col_begin;
  share.begin = decode_share_begin(s, width, share.index, share.ctas);
  share.end = decode_share_begin(s, width, share.index + 1, share.ctas);
  share.first_tile = width > 0 ? share.begin / width : 0;
  return share;
}
// The CTA of the group that has a tile of its list. Only where shares need not be whole row tiles.
__host__ __device__ inline int32_t decode_cta_of(const DecodeShape& s, const DecodeShare& share,
                                                 int32_t tile) {
  const int64_t all = int64_t{s.row_tiles} * (share.col_end - share.col_begin);
  return static_cast<int32_t>(((int64_t{tile} + 1) * share.ctas - 1) / all);
}

}  // namespace qwend::cuda
