// Keys and values of the CPU backend, laid out for the attention kernels.
//
// For each (layer, block, KV head): keys as tiles of 16 tokens, transposed [hd][16], so that one vector holds
// one dimension of 16 keys and scores need no horizontal sums; values as rows [token][hd padded to 16].
#pragma once
#include "kernels/backend.h"
#include "kernels/cpu/page_memory.h"

namespace qwend::cpu {

inline constexpr int32_t kKeyTile = 16;  // tokens a transposed key tile; block_size is a multiple of it

// What an attention kernel reads: one layer and KV head. Element type by dtype. Never owns.
struct KvHeadView {
  const std::byte* keys = nullptr;  // of block 0
  const std::byte* values = nullptr;
  int64_t key_block_stride = 0;  // elements from a block to the next
  int64_t value_block_stride = 0;
  int32_t block_size = 0;
  int32_t head_dim = 0;
  int32_t value_stride = 0;  // elements from a token to the next
  KvDType dtype = KvDType::F16;
};

// Written and read by one step at a time; different slots may be written concurrently.
class CpuKvCache : public DeviceKvCache {
 public:
  // Zero-filled. Throws std::invalid_argument when block_size is not a multiple of kKeyTile or a size is not
  // positive, std::bad_alloc when memory is short.
  explicit CpuKvCache(const KvCacheSpec& spec);
  const KvCacheSpec& spec() const override { return spec_; }
  KvHeadView head(int32_t layer, int32_t kv_head) const;
  // Stores one token's key and value rows [hd] of one head. F16: values beyond its range become its largest.
  void write(int32_t layer, int32_t kv_head, int32_t slot, const float* key, const float* value);
  // All tokens of a block, in all layers, to another one.
  void copy_block(int32_t from, int32_t to);
  KvRow read(int32_t layer, int32_t kv_head, int32_t slot) const;

 private:
  size_t element_bytes() const { return spec_.dtype == KvDType::F16 ? 2 : 4; }
  std::byte* base(int32_t layer, bool values) const;

  // Where a slot's key and value are in a head's view, in elements.
  struct Location {
    int64_t tile;  // of the transposed key tile
    int32_t lane;  // of the key in it
    int64_t row;   // of the value
  };
  Location locate(const KvHeadView& view, int32_t slot) const;

  KvCacheSpec spec_;
  int32_t value_stride_ = 0;
  int64_t key_head_elements_ = 0, value_head_elements_ = 0;  // of one head in one block
  PageMemory data_;
};

}  // namespace qwend::cpu
