// Counters and histograms in Prometheus text format, under vLLM's names so that existing dashboards work.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "engine/types.h"

namespace qwend {

struct EngineStats;

// Thread-safe; recording is a few atomic adds. Rendering never waits for the engine.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  void request_finished(const Usage& usage, const Timings& timings, double e2e_seconds, FinishReason reason);
  void token_gap(double seconds);                 // inter-token latency
  void rejected(std::string_view code);           // qwend:rejected_total{code}
  void cancelled(std::string_view phase);         // qwend:cancelled_total{phase}: queued, prefill, decode
  void set_open_connections(int count);
  std::string render(const EngineStats& stats, std::string_view model_id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend
