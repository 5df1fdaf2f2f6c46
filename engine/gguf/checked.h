// Size arithmetic on numbers that come from a file: every sum, product and round-up can wrap, so each returns
// nothing when it does.
#pragma once
#include <cstdint>
#include <optional>

namespace qwend::gguf {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Up to the next multiple of `alignment`, a power of two.
inline std::optional<uint64_t> checked_round_up(uint64_t value, uint64_t alignment) {
  const std::optional<uint64_t> sum = checked_add(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

}  // namespace qwend::gguf
