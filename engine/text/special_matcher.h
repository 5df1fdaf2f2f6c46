// Finds special tokens in text.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"

namespace qwend {

// A byte trie of the special tokens' texts. Filled by add(), immutable afterwards; then any thread.
class SpecialMatcher {
 public:
  // An empty text is never found; of equal texts the first counts. type: Control, Unknown or UserDefined.
  void add(std::string_view text, int32_t token, TokenType type);

  struct Match {
    size_t begin, end;
    int32_t token;  // -1: none; begin and end are then the text's end
  };
  // The leftmost, then longest special token at or after `from` that `specials` permits.
  Match find(std::string_view text, size_t from, Specials specials) const;

  int32_t find_exact(std::string_view text) const;  // -1: not a special token

 private:
  struct Node {
    unsigned char byte;
    int32_t next_sibling, first_child;  // -1: none
    int32_t token = -1;                 // that ends here
    bool user_defined = false;          // that token's type
  };
  int32_t child(int32_t node, unsigned char byte) const;

  std::vector<Node> nodes_ = {{0, -1, -1}};  // nodes_[0]: the root
  std::array<bool, 256> starts_{};           // bytes that a special token starts with
};

}  // namespace qwend
