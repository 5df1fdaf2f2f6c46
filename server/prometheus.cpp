#include "server/prometheus.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "kernels/check.h"

namespace qwend::prometheus {

namespace {

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    char text[32];
    out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
  }
}

std::string number_text(double value) {
  std::string text;
  append_number(text, value);
  return text;
}

void append_label(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty() && out.back() != '{') out += ',';
  out.append(name).append("=\"");
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

TextWriter::TextWriter(Labels common) {
  out_.reserve(32 << 10);
  for (const auto& [name, value] : common) append_label(common_, name, value);
}

void TextWriter::family(std::string_view name, std::string_view type, std::string_view help) {
  out_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  out_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void TextWriter::sample(std::string_view name, double value, Labels labels) {
  out_.append(name);
  if (!common_.empty() || labels.size() > 0) {
    out_.append("{").append(common_);
    for (const auto& [label, text] : labels) append_label(out_, label, text);
    out_ += '}';
  }
  out_ += ' ';
  append_number(out_, value);
  out_ += '\n';
}

void TextWriter::value(std::string_view name, std::string_view type, std::string_view help, double value) {
  family(name, type, help);
  sample(name, value);
}

void render_histogram(TextWriter& out, std::string_view name, std::string_view help,
                      std::span<const double> bounds, std::span<const uint64_t> counts, double sum) {
  CHECK(counts.size() == bounds.size() + 1);
  out.family(name, "histogram", help);
  const std::string bucket = std::string(name) + "_bucket";
  uint64_t count = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    count += counts[i];
    const std::string bound = i < bounds.size() ? number_text(bounds[i]) : "+Inf";
    out.sample(bucket, static_cast<double>(count), {{"le", bound}});
  }
  out.sample(std::string(name) + "_sum", sum);
  out.sample(std::string(name) + "_count", static_cast<double>(count));
}

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(new std::atomic<uint64_t>[bounds_.size() + 1]) {
  CHECK(std::ranges::is_sorted(bounds_));
  for (size_t i = 0; i <= bounds_.size(); ++i) counts_[i] = 0;
}

void Histogram::observe(double value) {
  const size_t bucket = static_cast<size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin());
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

void Histogram::render(TextWriter& out, std::string_view name, std::string_view help) const {
  std::vector<uint64_t> counts(bounds_.size() + 1);
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = counts_[i].load(std::memory_order_relaxed);
  render_histogram(out, name, help, bounds_, counts, sum_.load(std::memory_order_relaxed));
}

std::vector<double> buckets_1_2_5(double max) {
  std::vector<double> bounds;
  for (double decade = 1;; decade *= 10) {
    for (double step : {1.0, 2.0, 5.0}) {
      if (step * decade > max) return bounds;
      bounds.push_back(step * decade);
    }
  }
}

}  // namespace qwend::prometheus
