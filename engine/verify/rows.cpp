#include "engine/verify/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/check.h"

namespace qwend::verify {
namespace {

constexpr double kSmallPart = 0.05;  // of the root mean square of all parts
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::span<const float> part_of(const Rows& rows, int64_t row, int64_t part, int64_t width) {
  return rows.row(row).subspan(static_cast<size_t>(part * width), static_cast<size_t>(width));
}

double distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    sum += d * d;
  }
  return std::sqrt(sum);
}

}  // namespace

Rows Rows::select(std::span<const int32_t> index) const {
  Rows chosen{width, {}};
  for (const int32_t i : index) {
    const auto r = row(i);
    chosen.values.insert(chosen.values.end(), r.begin(), r.end());
  }
  return chosen;
}

Rows subtract(const Rows& a, const Rows& b) {
  CHECK(a.values.size() == b.values.size());
  Rows difference = a;
  for (size_t i = 0; i < b.values.size(); ++i) difference.values[i] -= b.values[i];
  return difference;
}

double norm(std::span<const float> x) {
  double sum = 0.0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

void Worst::take(double candidate, int64_t at_row, int64_t at_part) {
  if (std::isnan(candidate)) candidate = kInfinity;
  if (candidate > error) *this = {candidate, at_row, at_part};
}

Worst relative_error(const Rows& got, const Rows& want, int64_t part_width, std::span<const double> slack) {
  CHECK(got.values.size() == want.values.size() && want.width % part_width == 0);
  const int64_t parts = want.width / part_width, count = want.count();
  const double typical =
      norm(want.values) / std::sqrt(static_cast<double>(std::max<int64_t>(count * parts, 1)));
  Worst worst;
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t p = 0; p < parts; ++p) {
      const auto a = part_of(got, r, p, part_width), b = part_of(want, r, p, part_width);
      double off = distance(a, b);
      if (!slack.empty() && !std::isnan(off)) off = std::max(0.0, off - slack[static_cast<size_t>(r)]);
      const double size = std::max(norm(b), kSmallPart * typical);
      worst.take(off == 0.0 ? 0.0 : size == 0.0 ? kInfinity : off / size, r, p);
    }
  }
  return worst;
}

Worst absolute_error(const Rows& got, const Rows& want, int64_t part_width, std::span<const double> scale) {
  CHECK(got.values.size() == want.values.size() && want.width % part_width == 0);
  const int64_t parts = want.width / part_width;
  Worst worst;
  for (int64_t r = 0; r < want.count(); ++r) {
    for (int64_t p = 0; p < parts; ++p) {
      const auto a = part_of(got, r, p, part_width), b = part_of(want, r, p, part_width);
      const auto i = static_cast<size_t>(worst_element(a, b));
      const double off = std::abs(static_cast<double>(a[i]) - b[i]);
      worst.take(scale.empty() ? off : off / scale[static_cast<size_t>(r * parts + p)], r, p);
    }
  }
  return worst;
}

int64_t worst_element(std::span<const float> got, std::span<const float> want) {
  Worst worst;
  for (size_t i = 0; i < want.size(); ++i) {
    worst.take(std::abs(static_cast<double>(got[i]) - want[i]), static_cast<int64_t>(i));
  }
  return worst.row;
}

}  // namespace qwend::verify
