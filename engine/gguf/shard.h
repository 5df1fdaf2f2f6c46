// The contents of one GGUF file (a whole model, or one shard of a split one).
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/gguf/gguf.h"
#include "engine/gguf/metadata.h"

namespace qwend::gguf {

struct Shard {
  uint32_t version = 0;
  Metadata metadata;
  std::vector<TensorInfo> tensors;  // in file order; data and bytes are set
};

// Checks everything that can be known without the meaning of the keys: that sizes don't wrap, that all of it
// lies in the file, that names are unique and tensors don't overlap. Throws LoadError. O(n log n) in keys and
// tensors. `bytes` must be aligned to 8 bytes and outlive the result.
Shard parse_shard(std::span<const std::byte> bytes, const std::string& file);

}  // namespace qwend::gguf
