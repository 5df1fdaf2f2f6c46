// GGUF tensor type ids: which DType each one is, or why it is refused.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "kernels/tensor.h"

namespace qwend::gguf {

// One format as the container sees it: `block` elements of a row in `bytes` bytes.
struct BlockSize {
  int64_t block;
  int64_t bytes;
};

std::optional<DType> dtype_by_id(uint32_t id);
BlockSize block_size(DType dtype);

// For messages about an id without a DType: its name and whether it is unsupported, removed or unknown.
std::string why_refused(uint32_t id);

}  // namespace qwend::gguf
