#include "kernels/cuda/decode_attention.cuh"
#include "kernels/cuda/decode_cut.cuh"
#include "kernels/cuda/decode_layout.h"
#include "kernels/cuda/decode_row.cuh"
#include "kernels/cuda/error.h"

namespace qwend::cuda::decode {
namespace {

template <int kHeadDim>
Layout layout_of(const DecodeTable& table, int32_t slots) {
  Layout at{};
  at.slots = slots;
  auto used = static_cast<uint32_t>(kWarps * slots * table.slot_bytes);  // rings first: boxes are aligned
  const auto take = [&](size_t bytes) {
    const uint32_t from = used;
    used += static_cast<uint32_t>((bytes + 127) / 128 * 128);
    return from;
  };
  const auto byte_cols = static_cast<size_t>(table.byte_cols),
             half_cols = static_cast<size_t>(table.half_cols);
  at.barriers = take(2 * static_cast<size_t>(kWarps * slots) * sizeof(uint64_t));
  at.cuts = take(static_cast<size_t>(table.num_shapes) * sizeof(ShapeCut));
  at.tile_sums = take(static_cast<size_t>(table.num_shapes * table.max_records) * sizeof(TileSums));
  at.products = take(static_cast<size_t>(table.num_products) * sizeof(Product));
  at.layers = take(static_cast<size_t>(table.num_layers) * sizeof(DecodeLayer));
  at.token = take(sizeof(TokenMemory<kHeadDim>));
  at.squares = take(kSquares * sizeof(float));
  at.residual = take(static_cast<size_t>(table.width) * sizeof(float));
  at.attention = used;
  at.records = take(static_cast<size_t>(table.max_records) * 16 * sizeof(float));
  at.groups = take(byte_cols / kRowGroup * sizeof(RowGroup));
  at.bytes = take(byte_cols / kTileCols * kByteTileBytes);
  at.half_scales = take(half_cols / kRowGroup * sizeof(float));
  at.halves = take(half_cols / kRowGroup * kHalfGroupBytes + kRowSlack);
  constexpr uint32_t kAttention = sizeof(AttentionMemory<kHeadDim>);
  if (used < at.attention + kAttention) used = at.attention + kAttention;
  at.size = used;
  return at;
}

template <int kHeadDim>
Layout deepest(const DecodeTable& table) {
  Layout layout{};
  int32_t slots = kMaxSlots;
  do layout = layout_of<kHeadDim>(table, slots);
  while (layout.size > shared_limit() && --slots >= kMinSlots);
  layout.slots = slots;
  return layout;
}

}  // namespace

Layout deepest_layout(const DecodeTable& table) {
  return table.attention.head_dim == 64 ? deepest<64>(table) : deepest<128>(table);
}

size_t shared_limit() {
  static const size_t limit = [] {
    int device = 0, bytes = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return static_cast<size_t>(bytes);
  }();
  return limit;
}

}  // namespace qwend::cuda::decode
