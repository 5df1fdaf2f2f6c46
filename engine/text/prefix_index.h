// Tokens by how their bytes begin.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/token_table.h"

namespace qwend {

// Immutable after construction; refers to the table, which must outlive it.
class PrefixIndex {
 public:
  // tokens: those that can be found, each once; none is empty.
  PrefixIndex(const TokenTable& table, const std::vector<int32_t>& tokens);
  // Appends, in no particular order, the tokens whose bytes begin `text` or begin with it. text: not empty.
  // Looks at tokens with its first two bytes only: some thousand of 150,000 at most, where text has two.
  void along(std::string_view text, std::vector<int32_t>& out) const;

 private:
  void add_range(size_t first_key, size_t end_key, std::string_view text, std::vector<int32_t>& out) const;

  const TokenTable* table_;
  std::vector<int32_t> tokens_;  // by key: the first byte and the second, 0 where there is none
  std::vector<int32_t> begins_;  // [65,537] of each key's tokens
};

}  // namespace qwend
