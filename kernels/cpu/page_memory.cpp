#include "kernels/cpu/page_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>

namespace qwend::cpu {

PageMemory::PageMemory(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  constexpr size_t kHugePage = size_t{2} << 20;
  constexpr size_t kPage = 4096;
  mapped_ = (bytes + kPage - 1) / kPage * kPage;
  // Align to the huge page where there is at least one: map more, then give back both ends.
  const size_t extra = bytes >= kHugePage ? kHugePage : 0;
  void* region = mmap(nullptr, mapped_ + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) throw std::bad_alloc();
  auto* start = static_cast<std::byte*>(region);
  if (extra > 0) {
    const size_t misaligned = reinterpret_cast<uintptr_t>(start) % kHugePage;
    const size_t head = misaligned == 0 ? 0 : kHugePage - misaligned;
    if (head > 0) munmap(start, head);
    if (extra > head) munmap(start + head + mapped_, extra - head);
    start += head;
#ifdef MADV_HUGEPAGE
    madvise(start, mapped_, MADV_HUGEPAGE);  // a hint: nothing is lost where it is refused
#endif
  }
  data_ = start;
}

PageMemory::PageMemory(PageMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

PageMemory& PageMemory::operator=(PageMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

PageMemory::~PageMemory() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

}  // namespace qwend::cpu
