// When a stream among many writes what it has collected.
#pragma once
#include <chrono>
#include <cstdint>

#include "engine/types.h"

namespace qwend {

// The longest that a token waits for others of its stream.
inline constexpr std::chrono::milliseconds kMaxWritePeriod{32};

// Until when a stream collects its tokens; `running`: sequences that the engine runs, the stream's among
// them. `now` when it has the model for itself. Among others it is the next multiple of a period, a power of
// two of milliseconds that grows with their number (1 for two, kMaxWritePeriod from 17 pairs on): so streams
// that began at different times write at the same moments. The engine's threads are then interrupted once a
// period and not once a stream, and a client of many streams finds much to read at once.
Clock::time_point next_write(Clock::time_point now, int32_t running);

}  // namespace qwend
