#include "kernels/cuda/kv_cache.h"

#include <limits>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels/check.h"

namespace qwend::cuda {

namespace {
void check_shape(const KvCacheSpec& spec) {
  if (spec.num_layers <= 0 || spec.num_blocks <= 0 || spec.num_kv_heads <= 0) {
    throw std::invalid_argument("KV cache: every size must be positive");
  }
  if (spec.head_dim != 64 && spec.head_dim != 128 && spec.head_dim != 256) {
    throw std::invalid_argument("KV cache: CUDA attention serves heads of 64, 128 or 256 elements, not " +
                                std::to_string(spec.head_dim));
  }
  if (spec.block_size <= 0 || spec.block_size % 16 != 0) {
    throw std::invalid_argument("KV cache: block size " + std::to_string(spec.block_size) +
                                " is not a multiple of 16");
  }
}

// Elements of the keys of one layer and plane. Throws std::bad_alloc where a row number would not fit 32
// bits: such a cache is larger than any device.
int64_t layer_elements(const KvCacheSpec& spec) {
  const int64_t slots = int64_t{spec.num_blocks} * spec.block_size;
  if (slots > std::numeric_limits<int32_t>::max() / spec.num_kv_heads) throw std::bad_alloc();
  const int64_t elements = slots * spec.num_kv_heads * spec.head_dim;
  if (elements > std::numeric_limits<int64_t>::max() / 4 / spec.num_layers) throw std::bad_alloc();
  return elements;
}
}  // namespace

CudaKvCache::CudaKvCache(const KvCacheSpec& spec) : spec_(spec) {
  check_shape(spec);
  const int64_t planes = spec.dtype == KvDType::F32 ? 2 : 1;
  const auto elements = static_cast<size_t>(layer_elements(spec) * spec.num_layers * planes);
  keys_ = DeviceBuffer<__half>::zeroed(elements);
  values_ = DeviceBuffer<__half>::zeroed(elements);
}

KvLayer CudaKvCache::layer(int32_t index) const {
  CHECK(index >= 0 && index < spec_.num_layers);
  const int64_t plane = layer_elements(spec_) * spec_.num_layers, offset = layer_elements(spec_) * index;
  KvLayer layer{keys_.data() + offset, values_.data() + offset, spec_.num_kv_heads, spec_.block_size,
                spec_.head_dim};
  if (spec_.dtype == KvDType::F32) {
    layer.keys_low = layer.keys + plane;
    layer.values_low = layer.values + plane;
  }
  return layer;
}

}  // namespace qwend::cuda
