// usage and timings objects.
#pragma once
#include <cstdint>

#include "engine/types.h"
#include "server/json/json_writer.h"

namespace qwend {

// A whole HTTP request: the sums over its prompts, the slowest of their times.
struct Totals {
  Usage usage;
  Timings timings;
  void add(const Usage& more, const Timings& times);
};

void write_usage(json::JsonWriter& writer, const Usage& usage, int32_t reasoning_tokens);
// llama-server's names, plus queue_ms and ttft_ms. Milliseconds; *_per_second are tokens a second.
void write_timings(json::JsonWriter& writer, const Totals& totals);

}  // namespace qwend
