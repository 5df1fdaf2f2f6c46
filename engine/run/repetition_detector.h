// Finds that an output goes round in circles.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/types.h"

namespace qwend {

// One a sequence; one thread at a time. Constant work a token and pattern size.
class RepetitionDetector {
 public:
  explicit RepetitionDetector(const RepetitionLimit& limit)
      : limit_(limit), equal_(static_cast<size_t>(limit.max_pattern) + 1) {}
  // Whether the output now ends in min_count times the same min_pattern to max_pattern tokens.
  bool push(int32_t token) {
    tokens_.push_back(token);
    bool found = false;
    for (int32_t size = limit_.min_pattern; size <= limit_.max_pattern; ++size) {
      const auto distance = static_cast<size_t>(size);
      const bool same = tokens_.size() > distance && tokens_[tokens_.size() - 1 - distance] == token;
      int32_t& run = equal_[distance];
      run = same ? run + 1 : 0;
      found |= run >= size * (limit_.min_count - 1);
    }
    return found;
  }

 private:
  RepetitionLimit limit_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> equal_;  // [size] tokens at the end that equal the one `size` before them
};

}  // namespace qwend
