// A doubly linked list over block numbers, without allocation after construction.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/check.h"

namespace qwend {

// Not thread-safe. Each block is in the list at most once. All operations O(1).
class BlockList {
 public:
  explicit BlockList(int32_t num_blocks) : links_(num_blocks + 1, Link{kOut, kOut}), end_(num_blocks) {
    links_[end_] = {end_, end_};
  }
  int32_t size() const { return size_; }
  bool contains(int32_t block) const { return links_[block].next != kOut; }
  void push_back(int32_t block) {
    CHECK(!contains(block));
    const int32_t last = links_[end_].prev;
    links_[block] = {last, end_};
    links_[last].next = links_[end_].prev = block;
    ++size_;
  }
  void push_front(int32_t block) {
    CHECK(!contains(block));
    const int32_t first = links_[end_].next;
    links_[block] = {end_, first};
    links_[first].prev = links_[end_].next = block;
    ++size_;
  }
  void erase(int32_t block) {
    CHECK(contains(block));
    links_[links_[block].prev].next = links_[block].next;
    links_[links_[block].next].prev = links_[block].prev;
    links_[block] = {kOut, kOut};
    --size_;
  }
  int32_t pop_front() {
    CHECK(size_ > 0);
    const int32_t block = links_[end_].next;
    erase(block);
    return block;
  }

 private:
  static constexpr int32_t kOut = -1;
  struct Link {
    int32_t prev, next;
  };
  std::vector<Link> links_;  // [num_blocks + 1]; the last one closes the ring
  int32_t end_;
  int32_t size_ = 0;
};

}  // namespace qwend
