// Host copies of activations, and how far two of them are apart.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace qwend::verify {

// FP32 [rows, width].
struct Rows {
  int64_t width = 0;
  std::vector<float> values;

  static Rows zeros(int64_t count, int64_t width) {
    return {width, std::vector<float>(static_cast<size_t>(count * width))};
  }
  int64_t count() const { return width == 0 ? 0 : static_cast<int64_t>(values.size()) / width; }
  std::span<float> row(int64_t r) { return {values.data() + r * width, static_cast<size_t>(width)}; }
  std::span<const float> row(int64_t r) const {
    return {values.data() + r * width, static_cast<size_t>(width)};
  }
  Rows select(std::span<const int32_t> index) const;  // row i of the result is row index[i]
};
Rows subtract(const Rows& a, const Rows& b);

double norm(std::span<const float> x);  // Euclidean, in FP64

// The largest difference found: of part `part` of row `row`. Infinite where the device has NaN or infinity.
struct Worst {
  double error = -1.0;  // negative: nothing compared
  int64_t row = -1, part = -1;
  void take(double candidate, int64_t at_row, int64_t at_part = 0);
};

// ||got - want|| / ||want|| of each part of `part_width` elements of a row (a head, or the whole row). A part
// far smaller than its neighbours is measured against a twentieth of their root mean square: its own size is
// rounding. slack [rows]: difference that each row may have besides (what is lost when a small update is read
// off a large sum); none when empty.
Worst relative_error(const Rows& got, const Rows& want, int64_t part_width,
                     std::span<const double> slack = {});
// max |got - want| / scale[row * parts + part], scale 1 when empty
Worst absolute_error(const Rows& got, const Rows& want, int64_t part_width,
                     std::span<const double> scale = {});

// The element of the largest difference.
int64_t worst_element(std::span<const float> got, std::span<const float> want);

}  // namespace qwend::verify
