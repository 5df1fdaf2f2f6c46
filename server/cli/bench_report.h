// A benchmark's figures as a table, line by line as they come, or as one JSON object.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/device.h"
#include "kernels/yardstick.h"
#include "server/cli/bench_mixed.h"

namespace qwend::cli {

struct BenchSetting {
  std::string model;
  uint64_t model_bytes = 0;
  Device device;
  std::string device_name;
  int threads = 0;  // of the CPU
  int ctx = 0, ubatch = 0;
  // Of the weights, from the file to the device; and from opening device and file to the first token of a
  // short prompt.
  double load_seconds = 0, first_token_seconds = 0;
  Yardstick yardstick;
};

struct BenchFigure {
  std::string test;  // "pp512", "tg128", "tg128 + sampling"
  int streams = 1;
  double tokens_per_second = 0, deviation = 0;
  double bytes_per_token = 0;  // decode: what has to be read; 0 for prompts
  double flops_per_token = 0;
  // Microseconds a step, means: wall clock, and where the backend measures them, the device at work and idle
  // between steps; host: the time of making and launching a step.
  double step_us = 0, busy_us = 0, gap_us = 0, host_us = 0;

  // Decode: the time of reading bytes_per_token and, on a GPU, of flops_per_token at the GEMM rate. Prompts:
  // the latter alone. As a share of the time it took; nothing where the rate is not known.
  std::optional<double> share_of_limit(const BenchSetting& setting) const;
};

class BenchReport {
 public:
  BenchReport(BenchSetting setting, bool json);  // prints the table's head unless json
  void add(const BenchFigure& figure);
  void add(const MixedFigure& figure);
  void finish() const;  // prints the JSON

 private:
  BenchSetting setting_;
  bool as_json_;
  bool mixed_head_ = false;  // has been printed
  nlohmann::ordered_json json_;
};

}  // namespace qwend::cli
