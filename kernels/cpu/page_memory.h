// Memory for weights and scratch, straight from the system.
#pragma once
#include <cstddef>

namespace qwend::cpu {

// Zeroed, page-aligned bytes, in huge pages where the system offers them: weights are read front to back once
// a token, and 4 KiB pages would cost a page walk (and a stop of the prefetcher) every 4 KiB. Move-only
// owner.
class PageMemory {
 public:
  PageMemory() = default;
  explicit PageMemory(size_t bytes);  // throws std::bad_alloc
  PageMemory(PageMemory&& other) noexcept;
  PageMemory& operator=(PageMemory&& other) noexcept;
  ~PageMemory();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t mapped_ = 0;
};

}  // namespace qwend::cpu
