// Keys and values on the device: [layer][block][K heads][block_size][hd], keys and values apart, in FP16. An
// FP32 cache is two such planes, whose halves add up to the value (split_half.h): tensor cores read both, and
// 22 bits are kept.
#pragma once
#include <cuda_fp16.h>

#include "kernels/backend.h"
#include "kernels/cuda/resources.h"

namespace qwend::cuda {

// One layer as kernels see it. Token `slot % block_size` of block `slot / block_size`, head h:
// element (slot / block_size * num_kv_heads + h) * block_size * head_dim + slot % block_size * head_dim.
struct KvLayer {
  __half* keys = nullptr;
  __half* values = nullptr;
  int32_t num_kv_heads = 0;
  int32_t block_size = 0;      // a multiple of 16
  int32_t head_dim = 0;        // 64, 128 or 256
  __half* keys_low = nullptr;  // the second planes, laid out alike; nullptr in an FP16 cache
  __half* values_low = nullptr;

  __host__ __device__ bool precise() const { return keys_low != nullptr; }
  __host__ __device__ int64_t offset(int32_t slot, int32_t head) const {
    const int32_t block = slot / block_size;
    return ((int64_t{block} * num_kv_heads + head) * block_size + (slot - block * block_size)) * head_dim;
  }
};

class CudaKvCache : public DeviceKvCache {
 public:
  // Zero-filled. Throws CudaError when memory is short, std::invalid_argument for a shape that no kernel
  // serves.
  explicit CudaKvCache(const KvCacheSpec& spec);
  const KvCacheSpec& spec() const override { return spec_; }
  KvLayer layer(int32_t index) const;

 private:
  KvCacheSpec spec_;
  DeviceBuffer<__half> keys_, values_;  // [planes, layers, ...]
};

}  // namespace qwend::cuda
