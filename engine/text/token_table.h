// The bytes of every token, and the way back from bytes to the id.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qwend {

// Filled by add() in id order, immutable afterwards; reading is safe from any thread.
class TokenTable {
 public:
  explicit TokenTable(size_t num_tokens);

  // Adds the next token. `searchable`: find() may return it, unless an earlier token has the same bytes.
  void add(std::string_view bytes, bool searchable);

  int32_t size() const { return static_cast<int32_t>(ends_.size()) - 1; }
  size_t max_bytes() const { return max_bytes_; }  // of the longest token
  std::string_view bytes(int32_t token) const {
    const size_t begin = ends_[static_cast<size_t>(token)], end = ends_[static_cast<size_t>(token) + 1];
    return {text_.data() + begin, end - begin};
  }
  int32_t find(std::string_view bytes) const;  // -1: no such token

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t token = -1;  // -1: empty
  };
  size_t slot_of(uint32_t hash,
                 std::string_view bytes) const;  // the token's slot or the empty one it would take

  std::string text_;          // of all tokens, one after the other
  std::vector<size_t> ends_;  // ends_[t + 1]: where token t ends in text_
  std::vector<Slot> slots_;   // open addressing, at most half full, a power of two
  size_t max_bytes_ = 0;
};

}  // namespace qwend
