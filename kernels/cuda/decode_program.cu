#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "kernels/check.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/decode_kernel.h"
#include "kernels/cuda/decode_program.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tile_format.cuh"

namespace qwend::cuda {
namespace {

constexpr int32_t kMaxBlockCols = 8192;  // columns of a group of CTAs

// By how many percent the widest stretch of columns may be wider than all on average. Attention's output is a
// small matrix whose input is costly: many stretches pay although some CTAs have more to multiply (7B's 14
// steps in four, not two: Q4_K_M 474 -> 487 tokens/s, with 16,256 tokens of context 351 -> 371).
constexpr int32_t kUnevenOutput = 20, kUnevenDown = 6;

// Groups of CTAs that share out a matrix's columns. Inputs that are costly to make (joined splits, SwiGLU)
// are better made by a part of the CTAs each. With few row tiles, a group has a CTA for each: then nothing is
// to be added up within a group, and what readers wait for is short.
int32_t column_groups(int32_t cols, int32_t row_tiles, DecodeKind kind, int32_t ctas) {
  const int32_t tiles = cols / kTileCols, steps = tiles / decode_column_step(tiles);
  const int32_t least = (cols + kMaxBlockCols - 1) / kMaxBlockCols;
  if (kind != kAttnOutput && kind != kDown) return least;
  const int32_t percent = 100 + (kind == kDown ? kUnevenDown : kUnevenOutput);
  for (const int32_t groups : {4, 2}) {
    const bool balanced = (steps + groups - 1) / groups * groups * 100 <= steps * percent;
    if (groups >= least && groups <= ctas && balanced && (row_tiles > ctas || ctas / groups >= row_tiles))
      return groups;
  }
  return least;
}

// Whether CTAs take whole row tiles: where that costs little balance, or each has one at most. More of it may
// be lost where all CTAs read the sums: those of shared row tiles are twice as many (7B: 115 KB a CTA).
bool whole_row_tiles(int32_t row_tiles, int32_t ctas, DecodeKind kind) {
  if (row_tiles < ctas) return kind != kGateUp;  // of which all must have a share
  const int32_t most = (row_tiles + ctas - 1) / ctas;
  return most * ctas * 100 <= row_tiles * (kind == kAttnOutput || kind == kDown ? 120 : 110);
}

template <class T>
DeviceBuffer<T> to_device(const std::vector<T>& v) {
  DeviceBuffer<T> buffer(v.size());
  copy_to_device(buffer.data(), v.data(), buffer.bytes());
  return buffer;
}

bool same(const DecodeShape& a, const DecodeShape& b) {
  return a.dtype == b.dtype && a.whole_rows == b.whole_rows && a.row_tiles == b.row_tiles &&
         a.tiles == b.tiles && a.col_blocks == b.col_blocks && a.first_row == b.first_row && a.kind == b.kind;
}

}  // namespace

bool DecodeProgram::serves(const CudaMatrix& w) {
  return w.experts() == 1 && std::ranges::all_of(w.parts(), [](const WeightPart& p) {
           return p.dtype != DType::F32 && p.rows % kTileRows == 0 && p.first_row % kTileRows == 0;
         });
}

bool DecodeProgram::serves(const AttentionShape& shape, const RopeTable& rope) {
  return (shape.head_dim == 64 || shape.head_dim == 128) && shape.num_heads % shape.num_kv_heads == 0 &&
         shape.num_heads / shape.num_kv_heads <= 8 && rope.rotary_dim == shape.head_dim;
}

bool DecodeProgram::serves(const KvCacheSpec& cache) {
  return cache.dtype == KvDType::F16 && std::has_single_bit(static_cast<uint32_t>(cache.block_size));
}

DecodeProgram::DecodeProgram() = default;

int32_t DecodeProgram::shape_of(const WeightPart& part, DecodeKind kind) {
  DecodeShape s{};
  s.dtype = part.dtype;
  s.kind = kind;
  s.row_tiles = static_cast<int32_t>(part.row_tiles());
  s.col_blocks = table_.matmuls[kind].col_blocks;
  s.whole_rows = kind == kOutput || whole_row_tiles(s.row_tiles, ctas_ / s.col_blocks, kind);
  s.first_row = static_cast<int32_t>(part.first_row);
  s.tiles = static_cast<int32_t>(part.col_tiles());
  if (part.dtype == DType::F16) {
    s.pitch = static_cast<int32_t>(padded_width(part.cols) * 2);
    s.tile_bytes = kDecodeHalfTileBytes, s.tile_step = kTileCols * 2, s.row_tile_step = kTileRows * s.pitch;
  } else {
    s.tile_bytes = s.tile_step = static_cast<int32_t>(tile_bytes(part.dtype));
    s.row_tile_step = s.tiles * s.tile_step;
    s.super_bytes = static_cast<int32_t>(kTileRows * super_bytes(part.dtype));
    s.super_row_bytes = static_cast<int32_t>(part.cols / 256) * s.super_bytes;
  }
  s.unit_tiles = decode_unit_tiles(s.tile_bytes);
  CHECK(s.unit_tiles * s.tile_bytes <= kMaxDecodeUnitBytes);
  const auto known = std::ranges::find_if(shapes_, [&](const DecodeShape& k) { return same(k, s); });
  if (known != shapes_.end()) return static_cast<int32_t>(known - shapes_.begin());
  shapes_.push_back(s);
  return static_cast<int32_t>(shapes_.size()) - 1;
}

void DecodeProgram::note(const CudaMatrix& w, DecodeKind kind) {
  CHECK(serves(w) && !complete_);
  noted_.push_back({&w, kind});
}

// Tiles of the smallest part of gate and up.
int32_t DecodeProgram::smallest_gate_up() const {
  int64_t least = INT32_MAX;
  for (const Noted& n : noted_) {
    if (n.kind != kGateUp) continue;
    for (const WeightPart& part : n.matrix->parts())
      least = std::min(least, part.row_tiles() * part.col_tiles());
  }
  return static_cast<int32_t>(least);
}

void DecodeProgram::cut(const CudaMatrix& w, DecodeKind kind) {
  DecodeMatmul& m = table_.matmuls[kind];
  m.cols = static_cast<int32_t>(padded_width(w.cols()));
  m.rows = static_cast<int32_t>(w.rows());
  m.col_blocks = column_groups(m.cols, m.rows / kTileRows, kind, ctas_);
  int32_t slots = 1;
  for (const WeightPart& part : w.parts()) {
    const int32_t shape = shape_of(part, kind);
    products_.push_back({part.data, part.supers, shape});
    maps_.push_back(part.dtype == DType::F16 && has_tensor_maps()
                        ? tensor_map(reinterpret_cast<const __half*>(part.data), part.rows, part.cols,
                                     padded_width(part.cols), kTileRows)
                        : CUtensorMap{});
    // The most CTAs of a group that any row tile meets.
    const DecodeShape& s = shapes_[static_cast<size_t>(shape)];
    for (int32_t cta = 0; cta < ctas_; ++cta) {
      const DecodeShare share = decode_share(s, cta, ctas_);
      if (share.end <= share.begin || s.whole_rows) continue;
      const int32_t width = share.col_end - share.col_begin;
      slots = std::max(slots, share.index - decode_cta_of(s, share, share.first_tile * width) + 1);
    }
  }
  m.slots = std::max(m.slots, slots * m.col_blocks);
}

void DecodeProgram::attn_input(const AttnInput& op) {
  DecodeLayer layer{};
  layer.attn_norm = op.norm, layer.bias = op.bias, layer.q_norm = op.q_norm, layer.k_norm = op.k_norm;
  layer.keys = op.kv.keys, layer.values = op.kv.values;
  note(op.qkv, kQkv);
  table_.attn_eps = op.eps, table_.qk_eps = op.shape.norm_eps;
  table_.width = static_cast<int32_t>(op.qkv.cols());
  table_.inverse_width = 1.0f / static_cast<float>(table_.width);
  table_.attention = op.shape, table_.block_shift = std::countr_zero(static_cast<uint32_t>(op.kv.block_size));
  layers_.push_back(layer);
}

void DecodeProgram::attn_output(const CudaMatrix& w) { note(w, kAttnOutput); }

void DecodeProgram::gate_up(const float* norm, float eps, const CudaMatrix& w) {
  layers_.back().ffn_norm = norm;
  note(w, kGateUp);
  table_.ffn_eps = eps, table_.ffn = static_cast<int32_t>(w.rows() / 2);
}

void DecodeProgram::down(const CudaMatrix& w) { note(w, kDown); }

void DecodeProgram::logits(const float* norm, float eps, const CudaMatrix& w) {
  note(w, kOutput);
  table_.output_norm = norm, table_.output_eps = eps;
  finish();
}

void DecodeProgram::measure_shared() {
  int32_t alignment = 128;
  for (const DecodeShape& s : shapes_) {
    const int32_t bytes = s.unit_tiles * s.tile_bytes + (s.super_bytes != 0 ? kDecodeSuperArea : 0);
    table_.slot_bytes = std::max(table_.slot_bytes, bytes);
    if (s.dtype == DType::F16) alignment = kBoxAlignment;
  }
  table_.slot_bytes = (table_.slot_bytes + alignment - 1) / alignment * alignment;
  // Results of a CTA: of each part its row tiles, and one a warp that begins within one.
  const auto records_of = [&](const DecodeShape& s) {
    int32_t most = 0;
    for (int32_t cta = 0; cta < ctas_; ++cta) {
      const DecodeShare share = decode_share(s, cta, ctas_);
      if (share.end <= share.begin) continue;
      most = std::max(most, (share.end - 1) / (share.col_end - share.col_begin) - share.first_tile + 1);
    }
    return most + kDecodeWarps;
  };
  size_t product = 0;
  const auto take = [&](int32_t num_products) {
    int32_t records = 0;
    for (int32_t i = 0; i < num_products; ++i)
      records += records_of(shapes_[static_cast<size_t>(products_[product++].shape)]);
    table_.max_records = std::max(table_.max_records, records);
  };
  for (const DecodeLayer& layer : layers_) {
    for (const uint8_t num_products : layer.num_products) take(num_products);
  }
  take(table_.num_output_products);
  for (const DecodeShape& s : shapes_) {
    int32_t& cols = s.dtype == DType::F16 ? table_.half_cols : table_.byte_cols;
    cols = std::max(cols, decode_block_cols(table_.matmuls[s.kind]));
  }
}

// In the same parts in all layers, as all places are written anew in each.
void DecodeProgram::place_joined_row() {
  uint8_t parts = kRowNothing;
  for (const DecodeLayer& layer : layers_) parts |= layer.row_parts[kAttnOutput];
  for (DecodeLayer& layer : layers_) layer.row_parts[kAttnOutput] = parts;
  const auto cols = static_cast<size_t>(table_.matmuls[kAttnOutput].cols);
  const size_t codes = cols / 4, groups = cols / kTileCols * 4;
  const size_t bytes = (parts & kRowBytes) != 0 ? codes + groups : 0;
  const size_t halves = (parts & kRowHalves) != 0 ? 2 * codes + groups : 0;
  joined_ = DeviceBuffer<uint64_t>::zeroed(kRowCopies * (bytes + halves));
  RowPlaces& to = table_.joined;
  to.step = static_cast<uint32_t>(bytes + halves);
  uint64_t* const all = joined_.data();
  if (bytes != 0) to.bytes = all, to.groups = all + codes;
  if (halves != 0) to.halves = all + bytes, to.half_groups = all + bytes + 2 * codes;
}

void DecodeProgram::finish() {
  // Every CTA must have a share of every gate and up: decode_program.h.
  ctas_ = std::min(multiprocessor_count(), smallest_gate_up());
  size_t layer = 0;
  for (const Noted& n : noted_) {
    cut(*n.matrix, n.kind);
    uint8_t parts = kRowNothing;
    for (const WeightPart& part : n.matrix->parts()) {
      parts |= part.dtype == DType::F16 ? kRowHalves : kRowBytes;
      formats_ |= 1u << static_cast<uint32_t>(part.dtype);
    }
    const auto num_products = static_cast<uint8_t>(n.matrix->parts().size());
    if (n.kind == kOutput) {
      table_.num_output_products = num_products, table_.output_row_parts = parts;
    } else {
      layers_[layer].num_products[n.kind] = num_products, layers_[layer].row_parts[n.kind] = parts;
      layer += n.kind == kDown;
    }
  }
  for (DecodeShape& s : shapes_)
    s.slots_a_group = table_.matmuls[s.kind].slots / table_.matmuls[s.kind].col_blocks;
  measure_shared();
  for (size_t kind = 0; kind < kOutput; ++kind) {
    DecodeMatmul& m = table_.matmuls[kind];
    sums_[kind] =
        DeviceBuffer<uint64_t>::zeroed(static_cast<size_t>(m.slots) * static_cast<size_t>(m.rows / 2));
    m.sums = sums_[kind].data();
  }
  place_joined_row();
  const AttentionShape& heads = table_.attention;
  table_.max_splits = SplitPlan::of(heads.num_kv_heads).max_splits;
  const auto splits = static_cast<size_t>(heads.num_heads * table_.max_splits);
  split_out_ = DeviceBuffer<uint64_t>::zeroed(splits * static_cast<size_t>(heads.head_dim / 2));
  split_sums_ = DeviceBuffer<uint64_t>::zeroed(splits);
  embedding_ = DeviceBuffer<float>::zeroed(static_cast<size_t>(table_.width));
  table_.query_scale =
      static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(heads.head_dim)));

  table_.lanes_in_turn = std::getenv("QWEND_RACECHECK") != nullptr;
  device_products_ = to_device(products_);
  device_maps_ = to_device(maps_);
  device_shapes_ = to_device(shapes_);
  device_layers_ = to_device(layers_);
  table_.products = device_products_.data(), table_.num_products = static_cast<int32_t>(products_.size());
  table_.maps = device_maps_.data();
  table_.shapes = device_shapes_.data(), table_.num_shapes = static_cast<int32_t>(shapes_.size());
  table_.layers = device_layers_.data(), table_.num_layers = static_cast<int32_t>(layers_.size());
  table_.embedding = embedding_.data();
  table_.split_out = split_out_.data(), table_.split_sums = split_sums_.data();
  layout_ = decode::deepest_layout(table_);
  complete_ = true;
}

void DecodeProgram::launch(const DeviceStep& step, const float2* rope, float* logits, cudaStream_t stream) {
  CHECK(complete_ && fits() && step.num_tokens == 1 && step.max_seq_tokens == 1);
  decode::launch({table_, layout_, formats_, step, rope, logits, layers_run_, ctas_, stream});
  layers_run_ += static_cast<uint32_t>(table_.num_layers);
}

}  // namespace qwend::cuda
