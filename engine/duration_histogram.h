// How long things took, for metrics.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

namespace qwend {

// Counts durations by upper bound. Plain data, copied with the stats that hold it; one thread writes.
struct DurationHistogram {
  static constexpr std::array<double, 15> kBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025,  // seconds
                                                     0.005,  0.01,    0.025,  0.05,  0.1,
                                                     0.25,   0.5,     1.0,    2.5,   5.0};
  std::array<uint64_t, kBounds.size() + 1> counts{};  // not cumulative; the last one beyond all bounds
  double sum = 0;                                     // seconds

  void add(double seconds) {
    ++counts[static_cast<size_t>(std::ranges::lower_bound(kBounds, seconds) - kBounds.begin())];
    sum += seconds;
  }
};

}  // namespace qwend
