#include "kernels/cpu/kv_cache.h"

#include <limits>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels/check.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/vector_ops.h"
#include "kernels/quant/half.h"

namespace qwend::cpu {

CpuKvCache::CpuKvCache(const KvCacheSpec& spec) : spec_(spec) {
  if (spec.num_layers <= 0 || spec.num_blocks <= 0 || spec.num_kv_heads <= 0 || spec.head_dim <= 0) {
    throw std::invalid_argument("KV cache: every size must be positive");
  }
  if (spec.head_dim > kMaxHeadDim) {
    throw std::invalid_argument("KV cache: head_dim " + std::to_string(spec.head_dim) + " is larger than " +
                                std::to_string(kMaxHeadDim));
  }
  if (spec.block_size <= 0 || spec.block_size % kKeyTile != 0) {
    throw std::invalid_argument("KV cache: block size " + std::to_string(spec.block_size) +
                                " is not a multiple of " + std::to_string(kKeyTile));
  }
  value_stride_ = (spec.head_dim + 15) / 16 * 16;
  key_head_elements_ = static_cast<int64_t>(spec.block_size) * spec.head_dim;
  value_head_elements_ = static_cast<int64_t>(spec.block_size) * value_stride_;
  // Sizes that can't wrap: at most 2^31 * 2^31 * ... is checked in floating point first.
  const double bytes = static_cast<double>(key_head_elements_ + value_head_elements_) * element_bytes() *
                       spec.num_kv_heads * spec.num_blocks * static_cast<double>(spec.num_layers);
  if (bytes > static_cast<double>(std::numeric_limits<int64_t>::max() / 2)) throw std::bad_alloc();
  // Zero pages that cost nothing until a block in them is first written. Huge ones: each tile of 16 keys lies
  // in a small page of its own. With them 64 streams of the demo model ran 8% faster (docs/performance/cpu.md).
  data_ = PageMemory(static_cast<size_t>(bytes));
}

// Layer by layer: all key blocks, then all value blocks.
std::byte* CpuKvCache::base(int32_t layer, bool values) const {
  const int64_t heads = static_cast<int64_t>(spec_.num_blocks) * spec_.num_kv_heads;
  int64_t elements = heads * (key_head_elements_ + value_head_elements_) * layer;
  if (values) elements += heads * key_head_elements_;
  return data_.data() + static_cast<size_t>(elements) * element_bytes();
}

KvHeadView CpuKvCache::head(int32_t layer, int32_t kv_head) const {
  KvHeadView view;
  view.keys = base(layer, false) + static_cast<size_t>(kv_head * key_head_elements_) * element_bytes();
  view.values = base(layer, true) + static_cast<size_t>(kv_head * value_head_elements_) * element_bytes();
  view.key_block_stride = key_head_elements_ * spec_.num_kv_heads;
  view.value_block_stride = value_head_elements_ * spec_.num_kv_heads;
  view.block_size = spec_.block_size;
  view.head_dim = spec_.head_dim;
  view.value_stride = value_stride_;
  view.dtype = spec_.dtype;
  return view;
}

CpuKvCache::Location CpuKvCache::locate(const KvHeadView& view, int32_t slot) const {
  const int64_t block = slot / spec_.block_size;
  const int32_t token = slot % spec_.block_size;
  CHECK(slot >= 0 && block < spec_.num_blocks);
  return {block * view.key_block_stride + int64_t{token / kKeyTile} * kKeyTile * spec_.head_dim,
          token % kKeyTile, block * view.value_block_stride + int64_t{token} * value_stride_};
}

namespace {
// key: [hd] into lane `lane` of a transposed tile [hd][16]
template <class E>
void store_token(const E* key, const E* value, int32_t head_dim, E* key_tile, int32_t lane, E* value_row) {
  for (int32_t d = 0; d < head_dim; ++d) key_tile[d * kKeyTile + lane] = key[d];
  std::memcpy(value_row, value, static_cast<size_t>(head_dim) * sizeof(E));
}
}  // namespace

void CpuKvCache::write(int32_t layer, int32_t kv_head, int32_t slot, const float* key, const float* value) {
  const int32_t head_dim = spec_.head_dim;
  const KvHeadView view = head(layer, kv_head);
  const auto [tile, lane, row] = locate(view, slot);
  auto at = [&]<class E>(const std::byte* p, int64_t i) {
    return reinterpret_cast<E*>(const_cast<std::byte*>(p)) + i;
  };
  if (spec_.dtype == KvDType::F32) {
    store_token(key, value, head_dim, at.operator()<float>(view.keys, tile), lane,
                at.operator()<float>(view.values, row));
    return;
  }
  uint16_t key_half[kMaxHeadDim], value_half[kMaxHeadDim];
  vector_ops().to_half(key, head_dim, key_half);
  vector_ops().to_half(value, head_dim, value_half);
  store_token(key_half, value_half, head_dim, at.operator()<uint16_t>(view.keys, tile), lane,
              at.operator()<uint16_t>(view.values, row));
}

void CpuKvCache::copy_block(int32_t from, int32_t to) {
  CHECK(0 <= from && from < spec_.num_blocks && 0 <= to && to < spec_.num_blocks);
  for (int32_t layer = 0; layer < spec_.num_layers; ++layer) {
    for (const bool values : {false, true}) {
      const int64_t elements = (values ? value_head_elements_ : key_head_elements_) * spec_.num_kv_heads;
      const size_t bytes = static_cast<size_t>(elements) * element_bytes();
      std::byte* first = base(layer, values);
      std::memmove(first + static_cast<size_t>(to) * bytes, first + static_cast<size_t>(from) * bytes, bytes);
    }
  }
}

KvRow CpuKvCache::read(int32_t layer, int32_t kv_head, int32_t slot) const {
  const int32_t head_dim = spec_.head_dim;
  const KvHeadView view = head(layer, kv_head);
  const auto [tile, lane, row] = locate(view, slot);
  const auto element = [&](const std::byte* p, int64_t i) {
    return spec_.dtype == KvDType::F32 ? reinterpret_cast<const float*>(p)[i]
                                       : quant::half_to_float(reinterpret_cast<const uint16_t*>(p)[i]);
  };
  KvRow out{std::vector<float>(static_cast<size_t>(head_dim)),
            std::vector<float>(static_cast<size_t>(head_dim))};
  for (int32_t d = 0; d < head_dim; ++d) {
    out.key[static_cast<size_t>(d)] = element(view.keys, tile + int64_t{d} * kKeyTile + lane);
    out.value[static_cast<size_t>(d)] = element(view.values, row + d);
  }
  return out;
}

}  // namespace qwend::cpu
