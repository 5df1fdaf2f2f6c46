#include "server/openai/usage.h"

#include <algorithm>

namespace qwend {
namespace {

double per_second(int64_t tokens, double milliseconds) {
  return milliseconds > 0 ? 1000.0 * static_cast<double>(tokens) / milliseconds : 0.0;
}

}  // namespace

void Totals::add(const Usage& more, const Timings& times) {
  usage.prompt_tokens += more.prompt_tokens;
  usage.cached_tokens += more.cached_tokens;
  usage.completion_tokens += more.completion_tokens;
  timings.queue_ms = std::max(timings.queue_ms, times.queue_ms);
  timings.prompt_ms = std::max(timings.prompt_ms, times.prompt_ms);
  timings.ttft_ms = std::max(timings.ttft_ms, times.ttft_ms);
  timings.predicted_ms = std::max(timings.predicted_ms, times.predicted_ms);
}

void write_usage(json::JsonWriter& writer, const Usage& usage, int32_t reasoning_tokens) {
  writer.begin_object()
      .member("prompt_tokens", usage.prompt_tokens)
      .member("completion_tokens", usage.completion_tokens)
      .member("total_tokens", usage.prompt_tokens + usage.completion_tokens);
  writer.key("prompt_tokens_details")
      .begin_object()
      .member("cached_tokens", usage.cached_tokens)
      .end_object();
  writer.key("completion_tokens_details")
      .begin_object()
      .member("reasoning_tokens", reasoning_tokens)
      .member("accepted_prediction_tokens", 0)
      .member("rejected_prediction_tokens", 0)
      .end_object();
  writer.end_object();
}

void write_timings(json::JsonWriter& writer, const Totals& totals) {
  const Usage& usage = totals.usage;
  const Timings& t = totals.timings;
  const int32_t computed = usage.prompt_tokens - usage.cached_tokens;
  writer.begin_object()
      .member("queue_ms", t.queue_ms)
      .member("cache_n", usage.cached_tokens)
      .member("prompt_n", computed)
      .member("prompt_ms", t.prompt_ms)
      .member("prompt_per_second", per_second(computed, t.prompt_ms))
      .member("ttft_ms", t.ttft_ms)
      .member("predicted_n", usage.completion_tokens)
      .member("predicted_ms", t.predicted_ms)
      .member("predicted_per_second", per_second(usage.completion_tokens, t.predicted_ms))
      .end_object();
}

}  // namespace qwend
