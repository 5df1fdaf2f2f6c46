// Philox4x32-10: a counter-based random generator (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). No state: the same key and counter give the same numbers on every backend.
#pragma once
#include <array>
#include <cstdint>

namespace qwend {

constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// Uniform in [0, 1) with 53 random bits, from its arguments alone. Streams are independent of each other.
constexpr double uniform_at(uint64_t seed, int64_t position, uint32_t stream = 0) {
  const auto at = static_cast<uint64_t>(position);
  const auto bits = philox4x32({static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), stream, 0},
                               {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t joined = uint64_t{bits[0]} << 32 | bits[1];
  return static_cast<double>(joined >> 11) * 0x1p-53;
}

}  // namespace qwend
