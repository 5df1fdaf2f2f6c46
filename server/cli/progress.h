// A progress bar on standard error while a model loads: only on a terminal.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace qwend::cli {

class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();                              // ends the line
  void update(uint64_t done, uint64_t total);  // bytes; shows the mean rate

 private:
  std::string label_;
  bool terminal_;
  int last_percent_ = -1;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace qwend::cli
