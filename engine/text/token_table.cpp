#include "engine/text/token_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace qwend {

namespace {

uint64_t load_tail(const char* at, size_t size) {  // size < 8
  uint64_t word = 0;
  std::memcpy(&word, at, size);
  return word;
}

// Multiply-and-fold over 8-byte words. The table is fixed by the model file, so text that collides on purpose
// only finds the file's own (short) probe sequences.
uint32_t hash_bytes(std::string_view bytes) {
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = left * 0x9E3779B97F4A7C15u;
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    mix(word);
  }
  if (left > 0) mix(load_tail(at, left));
  return static_cast<uint32_t>(hash ^ hash >> 29);
}

}  // namespace

TokenTable::TokenTable(size_t num_tokens) : ends_{0}, slots_(std::bit_ceil(2 * num_tokens + 1)) {
  ends_.reserve(num_tokens + 1);
  text_.reserve(num_tokens * 7);  // Qwen's tokens have 6.4 bytes on average
}

void TokenTable::add(std::string_view bytes, bool searchable) {
  const int32_t token = size();
  if (searchable) {
    const uint32_t hash = hash_bytes(bytes);
    Slot& slot = slots_[slot_of(hash, bytes)];
    if (slot.token < 0) slot = {hash, token};
  }
  text_ += bytes;
  ends_.push_back(text_.size());
  max_bytes_ = std::max(max_bytes_, bytes.size());
}

int32_t TokenTable::find(std::string_view bytes) const {
  return slots_[slot_of(hash_bytes(bytes), bytes)].token;
}

size_t TokenTable::slot_of(uint32_t hash, std::string_view bytes) const {
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  while (slots_[i].token >= 0 && (slots_[i].hash != hash || this->bytes(slots_[i].token) != bytes))
    i = (i + 1) & mask;
  return i;
}

}  // namespace qwend
