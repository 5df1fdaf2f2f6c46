// The Prometheus text format (version 0.0.4) and the one instrument that is more than a number.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwend::prometheus {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// Appends families and samples to a string. Every sample carries the common labels.
class TextWriter {
 public:
  explicit TextWriter(Labels common);
  // type: counter, gauge or histogram. Samples of the family follow.
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::string_view name, double value, Labels labels = {});
  // A family of one sample.
  void value(std::string_view name, std::string_view type, std::string_view help, double value);
  std::string take() { return std::move(out_); }

 private:
  std::string common_;  // `model_name="x"`
  std::string out_;
};

// A histogram family. bounds: rising, without +Inf; counts: one more than bounds, not cumulative.
void render_histogram(TextWriter& out, std::string_view name, std::string_view help,
                      std::span<const double> bounds, std::span<const uint64_t> counts, double sum);

// Counts observations by upper bound. observe() is lock-free; a rendering at the same time may miss the
// newest ones but is always consistent in itself (buckets rise, +Inf equals the count).
class Histogram {
 public:
  // bounds: rising, without +Inf.
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  void render(TextWriter& out, std::string_view name, std::string_view help) const;

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;  // bounds + 1, not cumulative
  std::atomic<double> sum_{0};
};

// 1, 2, 5, 10, 20, 50 … up to `max`.
std::vector<double> buckets_1_2_5(double max);

}  // namespace qwend::prometheus
