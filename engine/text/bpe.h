// Byte-pair encoding of one piece of text.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/token_table.h"

namespace qwend {

// Which pairs of tokens merge, in which order, and into what. Immutable; any thread.
class MergeTable {
 public:
  static constexpr uint32_t kNoMerge = UINT32_MAX;

  // merges: "left right" in the byte alphabet, rank = index; a repeated pair keeps its first rank.
  // Throws LoadError naming the first merge that is malformed or has a part or result that is no token.
  MergeTable(const TokenTable& tokens, std::span<const std::string> merges);

  uint32_t rank(int32_t left, int32_t right) const;  // kNoMerge: they don't merge
  int32_t merged(uint32_t rank) const { return merged_[rank]; }

 private:
  struct Slot {
    int32_t left = -1, right = -1;
    uint32_t rank = kNoMerge;
  };
  size_t slot_of(int32_t left, int32_t right) const;

  std::vector<Slot> slots_;      // open addressing, at most half full, a power of two
  std::vector<int32_t> merged_;  // by rank
};

// Immutable; any thread.
class BytePairEncoder {
 public:
  // tokens must outlive the encoder. Throws LoadError if one of the 256 bytes is not a token or a merge is
  // bad.
  BytePairEncoder(const TokenTable& tokens, std::span<const std::string> merges);

  // Working memory, 24 bytes for each byte of the longest piece seen; reuse it from piece to piece.
  struct Scratch {
    struct Symbol {
      int32_t token;  // kMerged: part of the symbol before it
      uint32_t rank;  // of merging this symbol with the next one
      uint32_t previous, next;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> queue;  // binary heap of candidates: rank << 32 | index of the left symbol
  };

  // Appends the tokens of a piece (fewer than 2^32 bytes): merges the pair with the lowest rank, the leftmost
  // of equals, until no pair merges. O(n log n).
  void encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const;

 private:
  std::array<int32_t, 256> byte_tokens_;
  MergeTable merges_;
};

}  // namespace qwend
