#include "server/handlers/write_pace.h"

#include <algorithm>
#include <bit>

namespace qwend {

// A millisecond for each two: however fast the model is, all together write at most 2,000 times a second.
// 64 streams of the demo model on two cores: HTTP's threads and the client take 10.6 core-us a token, 14.6
// when each stream counts its period from its own last write.
Clock::time_point next_write(Clock::time_point now, int32_t running) {
  if (running < 2) return now;
  const auto pairs = std::chrono::milliseconds(std::bit_ceil(static_cast<uint32_t>(running) / 2));
  const std::chrono::milliseconds period = std::min(pairs, kMaxWritePeriod);
  return now - now.time_since_epoch() % period + period;
}

}  // namespace qwend
