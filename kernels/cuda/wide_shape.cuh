// What a product of the wide kernels is asked, how a CTA is shaped, and where it is in its list of stages.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/cuda/matmul.h"

namespace qwend::cuda::wide {

struct Args {
  WeightPart part;
  HalfRows in;
  Epilogue epilogue = Epilogue::Store;
  MatmulOut out;
  const float* weight_norms = nullptr;  // SwiGLU: see gated_scale()
  int64_t out_rows = 0;                 // rows that are written (SwiGLU: gate rows)
  int32_t num_tokens = 0;
  int64_t row_tile_bytes = 0, row_tile_super_bytes = 0;  // of the part, from one row tile to the next
  int32_t row_blocks = 0, token_blocks = 0;  // of the output; token blocks of a row block are neighbours
  int32_t stages = 0;            // of an output tile: 64-column tiles, twice as many for two planes
  float* partial = nullptr;      // two tiles a CTA: sums of shared tiles
  uint32_t* arrivals = nullptr;  // [CTAs], 0 between launches: of the shared tile that it begins

  __host__ __device__ int64_t total() const { return int64_t{row_blocks} * token_blocks * stages; }
};

// kRowTiles: 16-row tiles a warp (even: SwiGLU pairs them); kTokenTiles: 8-token tiles (even); kWarps of a
// CTA; kCtas that a multiprocessor holds.
template <int kRowTiles_, int kTokenTiles_, int kWarps_, int kCtas_>
struct Shape {
  static constexpr int kRowTiles = kRowTiles_, kTokenTiles = kTokenTiles_, kWarps = kWarps_, kCtas = kCtas_;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = kTileRows * kRowTiles * kWarps, kTokens = 8 * kTokenTiles;
  static constexpr int kActivationBytes = kTokens * kTileCols * 2;
  template <class W>
  static constexpr int kStageBytes = kActivationBytes + (kWarps * kRowTiles * W::kRecord + 127) / 128 * 128;
  // A block has 99 KB at least on every device, and a multiprocessor of an H100 227.
  static constexpr int kSharedBytes = std::min(96, 216 / kCtas) * 1024;
  template <class W>
  static constexpr int kStages = std::clamp(kSharedBytes / kStageBytes<W>, 2, 6);
};

// A place in the list of stages.
struct Cursor {
  int row_block, token_block, stage;
  __device__ Cursor(const Args& args, int64_t at) {
    const auto tile = static_cast<int>(at / args.stages);
    stage = static_cast<int>(at % args.stages);
    row_block = tile / args.token_blocks, token_block = tile % args.token_blocks;
  }
  __device__ void advance(const Args& args, int by = 1) {  // not past the next tile
    if ((stage += by) < args.stages) return;
    stage = 0;
    if (++token_block < args.token_blocks) return;
    token_block = 0, ++row_block;
  }
};

template <class S>
using Sums = float[S::kRowTiles][S::kTokenTiles][4];

}  // namespace qwend::cuda::wide
