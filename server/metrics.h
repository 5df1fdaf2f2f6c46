// Counters and histograms in Prometheus text format, under vLLM's names so that existing dashboards work.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/types.h"

namespace qwend {

struct EngineStats;

// Thread-safe; recording is a few atomic adds (rejected() takes a short lock). Rendering never
// waits for the engine.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  void request_finished(const Usage& usage, const Timings& timings, double e2e_seconds, FinishReason reason);
  void token_gap(double seconds);        // inter-token latency
  void rejected(std::string_view code);  // qwend:rejected_total{code}
  void set_open_connections(int count);
  // engine_heartbeat: Engine::last_heartbeat(); without it there is no qwend:engine_last_step_timestamp.
  std::string render(const EngineStats& stats, std::string_view model_id,
                     std::optional<Clock::time_point> engine_heartbeat = std::nullopt) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend
