#include "engine/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "engine/error.h"
#include "engine/gguf/printable.h"
#include "engine/text/byte_alphabet.h"

namespace qwend {

namespace {

[[noreturn]] void bad_merge(size_t rank, const std::string& merge, const char* why) {
  throw LoadError("tokenizer.ggml.merges[" + std::to_string(rank) + "]: " + gguf::quoted(merge) + " " + why);
}

std::array<int32_t, 256> find_byte_tokens(const TokenTable& tokens) {
  std::array<int32_t, 256> result;
  for (size_t byte = 0; byte < result.size(); ++byte) {
    const char text = static_cast<char>(byte);
    result[byte] = tokens.find({&text, 1});
    if (result[byte] < 0) {
      throw LoadError("tokenizer.ggml.tokens: no NORMAL token for byte " + std::to_string(byte) +
                      "; a byte-level vocabulary has all 256");
    }
  }
  return result;
}

}  // namespace

MergeTable::MergeTable(const TokenTable& tokens, std::span<const std::string> merges)
    : slots_(std::bit_ceil(2 * merges.size() + 1)), merged_(merges.size()) {
  std::string bytes;  // left and right side by side: the merged token
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos) bad_merge(rank, merges[rank], "is not 'left right'");
    bytes.clear();
    const bool left_is_spelled = append_from_byte_alphabet(merge.substr(0, space), bytes);
    const size_t left_size = bytes.size();
    if (!left_is_spelled || !append_from_byte_alphabet(merge.substr(space + 1), bytes)) {
      bad_merge(rank, merges[rank], "has a character outside the byte alphabet");
    }
    const std::string_view whole = bytes;
    const int32_t left = tokens.find(whole.substr(0, left_size));
    const int32_t right = tokens.find(whole.substr(left_size));
    if (left_size == 0 || left_size == whole.size() || left < 0 || right < 0) {
      bad_merge(rank, merges[rank], "joins what is no token");
    }
    merged_[rank] = tokens.find(whole);
    if (merged_[rank] < 0) bad_merge(rank, merges[rank], "makes what is no token");
    Slot& slot = slots_[slot_of(left, right)];
    if (slot.left < 0) slot = {left, right, static_cast<uint32_t>(rank)};
  }
}

uint32_t MergeTable::rank(int32_t left, int32_t right) const { return slots_[slot_of(left, right)].rank; }

size_t MergeTable::slot_of(int32_t left, int32_t right) const {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  const uint64_t hash = key * 0x9E3779B97F4A7C15u;
  const size_t mask = slots_.size() - 1;
  size_t i = static_cast<size_t>(hash >> 32) & mask;
  while (slots_[i].left >= 0 && (slots_[i].left != left || slots_[i].right != right)) i = (i + 1) & mask;
  return i;
}

BytePairEncoder::BytePairEncoder(const TokenTable& tokens, std::span<const std::string> merges)
    : byte_tokens_(find_byte_tokens(tokens)), merges_(tokens, merges) {}

void BytePairEncoder::encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const {
  constexpr int32_t kMerged = -1;
  CHECK(piece.size() < UINT32_MAX);
  const auto size = static_cast<uint32_t>(piece.size());
  auto& [symbols, queue] = scratch;
  symbols.resize(size);
  queue.clear();
  const auto candidate = [&](uint32_t i) { return uint64_t{symbols[i].rank} << 32 | i; };
  // Looks up the pair (i, next); returns whether it merges.
  const auto rank_pair = [&](uint32_t i) {
    auto& symbol = symbols[i];
    symbol.rank =
        symbol.next < size ? merges_.rank(symbol.token, symbols[symbol.next].token) : MergeTable::kNoMerge;
    return symbol.rank != MergeTable::kNoMerge;
  };

  for (uint32_t i = 0; i < size; ++i) {
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(piece[i])], MergeTable::kNoMerge, i - 1, i + 1};
  }
  for (uint32_t i = 0; i < size; ++i) {
    if (rank_pair(i)) queue.push_back(candidate(i));
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>{});

  const auto push = [&](uint32_t i) {
    queue.push_back(candidate(i));
    std::push_heap(queue.begin(), queue.end(), std::greater<>{});
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>{});
    const auto i = static_cast<uint32_t>(queue.back());
    const auto rank = static_cast<uint32_t>(queue.back() >> 32);
    queue.pop_back();
    auto& symbol = symbols[i];
    if (symbol.token == kMerged || symbol.rank != rank) continue;  // a stale candidate
    auto& eaten = symbols[symbol.next];
    symbol.token = merges_.merged(rank);
    symbol.next = eaten.next;
    eaten.token = kMerged;
    if (symbol.next < size) symbols[symbol.next].previous = i;
    if (rank_pair(i)) push(i);
    if (i > 0 && rank_pair(symbol.previous)) push(symbol.previous);
  }
  for (uint32_t i = 0; i < size; i = symbols[i].next) out.push_back(symbols[i].token);
}

}  // namespace qwend
