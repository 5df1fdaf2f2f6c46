#include "server/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace qwend::cli {

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() {
  if (terminal_ && last_percent_ >= 0) std::fputs("\n", stderr);
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  const int percent = total == 0 ? 100 : static_cast<int>(done * 100 / total);
  if (!terminal_ || percent == last_percent_) return;
  last_percent_ = percent;
  constexpr int kWidth = 40;
  const std::string bar(static_cast<size_t>(percent * kWidth / 100), '#');
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  std::fprintf(stderr, "\r%s [%-*s] %3d%%  %.2f of %.2f GB, %.1f GB/s", label_.c_str(), kWidth, bar.c_str(),
               percent, static_cast<double>(done) / 1e9, static_cast<double>(total) / 1e9,
               static_cast<double>(done) / 1e9 / std::max(elapsed.count(), 1e-9));
  std::fflush(stderr);
}

}  // namespace qwend::cli
