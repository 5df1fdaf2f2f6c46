// Norms and roundings against double precision, with outliers that FP16 could not hold.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cuda/elementwise.h"
#include "tests/cuda/cuda_test.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

struct Rounded {
  std::vector<__half> rows;  // [T + 1, stride]: a row more than asked for
  std::vector<float> scale;  // [T + 1]
  int64_t stride;
  std::vector<__half> low;  // the second plane, or nothing
};

// Runs `produce` on poisoned outputs with room for one more row.
template <class F>
Rounded rounded(int32_t num_rows, int64_t width, F produce, bool two_planes = false) {
  const int64_t stride = padded_width(width);
  const auto size = static_cast<size_t>((num_rows + 1) * stride);
  auto rows = poisoned<__half>(size), low = poisoned<__half>(two_planes ? size : 0);
  auto scale = poisoned<float>(static_cast<size_t>(num_rows + 1));
  produce(HalfRowsOut{rows.data(), scale.data(), stride, low.data()});
  return {to_host(rows), to_host(scale), stride, to_host(low)};
}

// What FP32 arithmetic may have lost before a norm is rounded.
constexpr double kNormArithmetic = 2e-6;

// Against expected [T, width]: the promise of activations.h.
void check_rounded(const Rounded& got, const std::vector<double>& expected, int64_t width,
                   double arithmetic) {
  const auto num_rows = static_cast<int64_t>(expected.size()) / width;
  const double rounding = got.low.empty() ? 0x1p-11 : 0x1p-22;
  int wrong_values = 0, wrong_padding = 0, wrong_scales = 0, overwritten = 0;
  for (int64_t t = 0; t < num_rows; ++t) {
    const double* row = &expected[static_cast<size_t>(t * width)];
    double largest = 0.0, largest_half = 0.0;
    for (int64_t i = 0; i < width; ++i) largest = std::max(largest, std::abs(row[i]));
    const double scale = static_cast<double>(got.scale[static_cast<size_t>(t)]);
    for (int64_t i = 0; i < got.stride; ++i) {
      const auto at = static_cast<size_t>(t * got.stride + i);
      const double high = static_cast<double>(half_value(got.rows[at]));
      const double low = got.low.empty() ? 0.0 : static_cast<double>(half_value(got.low[at]));
      if (i >= width) {
        wrong_padding += !(high == 0.0 && low == 0.0);
        continue;
      }
      largest_half = std::max(largest_half, std::abs(high));
      // Half a unit in the last of 11 bits (or of 11 more), and the arithmetic before; FP16's subnormals.
      const double allowed = std::abs(row[i]) * (rounding + arithmetic) + largest * 0x1p-37;
      wrong_values += !(std::abs((high + low) * scale - row[i]) <= allowed);
    }
    int exponent;
    wrong_scales += !(scale > 0.0 && std::frexp(scale, &exponent) == 0.5);
    if (largest > 1e-34) wrong_scales += !(largest_half >= 8191.0 && largest_half <= 16384.0);
  }
  for (size_t i = static_cast<size_t>(num_rows * got.stride); i < got.rows.size(); ++i) {
    overwritten += !is_poison(got.rows[i]);
    if (!got.low.empty()) overwritten += !is_poison(got.low[i]);
  }
  overwritten += !is_poison(got.scale.back());
  CHECK(wrong_values == 0);
  CHECK(wrong_padding == 0);
  CHECK(wrong_scales == 0);
  CHECK(overwritten == 0);
}

std::vector<double> rms_norm_reference(const std::vector<float>& x, const std::vector<float>& weight,
                                       double eps, const std::vector<int32_t>& rows) {
  const size_t width = weight.size();
  std::vector<double> out;
  for (const int32_t row : rows) {
    const float* source = &x[static_cast<size_t>(row) * width];
    double squares = 0.0;
    for (size_t i = 0; i < width; ++i)
      squares += static_cast<double>(source[i]) * static_cast<double>(source[i]);
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (size_t i = 0; i < width; ++i) {
      out.push_back(static_cast<double>(source[i]) * factor * static_cast<double>(weight[i]));
    }
  }
  return out;
}

std::vector<int32_t> first_rows(int32_t count) {
  std::vector<int32_t> rows(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = i;
  return rows;
}

// Plants values of 1e4 to 1e8 in a few columns of every row.
void plant_outliers(std::vector<float>& x, size_t width) {
  for (size_t row = 0; row * width < x.size(); ++row) {
    x[row * width + row % width] = std::pow(10.0f, static_cast<float>(4 + row % 5));
    x[row * width + (row * 7 + 3) % width] = -1e4f;
  }
}

constexpr float kEps = 1e-6f;

}  // namespace

namespace {

void check_norms(std::initializer_list<int64_t> widths, std::initializer_list<int32_t> row_counts) {
  for (const int64_t width : widths) {
    for (const int32_t num_rows : row_counts) {
      if (width * num_rows > 8'000'000) continue;
      for (const bool outliers : {false, true}) {
        INFO("width " << width << ", " << num_rows << " rows" << (outliers ? ", outliers" : ""));
        const auto w = static_cast<size_t>(width);
        std::vector<float> x = normal_values(w * static_cast<size_t>(num_rows), 1);
        if (outliers) plant_outliers(x, w);
        const std::vector<float> weight = normal_values(w, 2);
        const auto d_x = to_device(x), d_weight = to_device(weight);
        const auto norm = [&](const HalfRowsOut& out) {
          rms_norm(d_x.data(), width, nullptr, num_rows, d_weight.data(), kEps, out, nullptr);
        };
        const std::vector<double> expected =
            rms_norm_reference(x, weight, static_cast<double>(kEps), first_rows(num_rows));
        const Rounded one = rounded(num_rows, width, norm), two = rounded(num_rows, width, norm, true);
        check_rounded(one, expected, width, kNormArithmetic);
        check_rounded(two, expected, width, kNormArithmetic);
        CHECK(same_bits(std::span<const __half>(one.rows), std::span<const __half>(two.rows)));

        const auto norms = poisoned<float>(static_cast<size_t>(num_rows));
        const Rounded third = rounded(num_rows, width, [&](HalfRowsOut out) {
          out.norm = norms.data();
          norm(out);
        });
        CHECK(same_bits(std::span<const __half>(one.rows), std::span<const __half>(third.rows)));
        const std::vector<float> got = to_host(norms);
        int wrong = 0;
        for (size_t t = 0; t < got.size(); ++t) {
          double squares = 0.0;
          for (size_t i = 0; i < w; ++i) squares += expected[t * w + i] * expected[t * w + i];
          wrong += !(std::abs(static_cast<double>(got[t]) - std::sqrt(squares)) <= 1e-5 * std::sqrt(squares));
        }
        CHECK(wrong == 0);
      }
    }
  }
}

void check_rounding(std::initializer_list<int64_t> widths, std::initializer_list<int32_t> row_counts) {
  for (const int64_t width : widths) {
    for (const int32_t num_rows : row_counts) {
      INFO("width " << width << ", " << num_rows << " rows");
      const auto w = static_cast<size_t>(width);
      std::vector<float> x = normal_values(w * static_cast<size_t>(num_rows), 7);
      plant_outliers(x, w);
      // From subnormal to the largest that FP32 holds; and zeros.
      const float sizes[] = {1e-42f, 1e-38f, 1e-20f, 1.0f, 1e20f, 1e30f, 0.0f};
      std::vector<uint32_t> largest(static_cast<size_t>(num_rows), 0);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] *= sizes[i / w % 7];
        largest[i / w] = std::max(largest[i / w], std::bit_cast<uint32_t>(std::abs(x[i])));
      }
      const auto d_x = to_device(x);
      const auto d_largest = to_device(largest);
      const auto round_with = [&](const uint32_t* row_max, bool two_planes) {
        const auto round = [&](const HalfRowsOut& out) {
          round_rows(d_x.data(), width, num_rows, row_max, out, nullptr);
        };
        return rounded(num_rows, width, round, two_planes);
      };
      const Rounded found = round_with(nullptr, false), known = round_with(d_largest.data(), true);
      check_rounded(found, {x.begin(), x.end()}, width, 0.0);
      check_rounded(known, {x.begin(), x.end()}, width, 0.0);
      CHECK(same_bits(std::span<const __half>(found.rows), std::span<const __half>(known.rows)));
      CHECK(same_bits(std::span<const float>(found.scale), std::span<const float>(known.scale)));

      const auto rows = to_device(known.rows), low = to_device(known.low);
      const auto scale = to_device(known.scale);
      for (const bool two_planes : {false, true}) {
        const auto wide = poisoned<float>(x.size() + 1);
        widen_rows({rows.data(), scale.data(), known.stride, two_planes ? low.data() : nullptr}, width,
                   num_rows, wide.data(), nullptr);
        const std::vector<float> got = to_host(wide);
        int wrong = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const size_t t = i / w, at = t * static_cast<size_t>(known.stride) + i % w;
          const float high = half_value(known.rows[at]);
          wrong += got[i] != (two_planes ? high + half_value(known.low[at]) : high) * known.scale[t];
        }
        CHECK(wrong == 0);
        CHECK(is_poison(got.back()));
      }
    }
  }
}

}  // namespace

TEST_CASE("RMS norm on the device", "[cuda][elementwise]") {
  NEEDS_CUDA_DEVICE();
  check_norms({1, 24, 32, 99, 130, 512, 896, 1000, 1536, 2048, 3584, 5120, 8192, 16384}, {1, 3, 130, 2048});
}

TEST_CASE("norms and roundings of a few rows", "[cuda][elementwise][sanitize]") {
  NEEDS_CUDA_DEVICE();
  check_norms({1, 99, 896, 5120}, {1, 3});
  check_rounding({1, 31, 896, 4864}, {1, 5});
}

TEST_CASE("RMS norm of chosen rows; a row's bits in any company", "[cuda][elementwise]") {
  NEEDS_CUDA_DEVICE();
  constexpr int64_t kWidth = 3584;
  std::vector<float> x = normal_values(300 * kWidth, 3);
  plant_outliers(x, kWidth);
  const std::vector<float> weight = normal_values(kWidth, 4);
  const auto d_x = to_device(x), d_weight = to_device(weight);
  const auto norm = [&](const std::vector<int32_t>& rows) {
    const auto index = to_device(rows);
    const auto count = static_cast<int32_t>(rows.size());
    return rounded(count, kWidth, [&](const HalfRowsOut& out) {
      rms_norm(d_x.data(), kWidth, index.data(), count, d_weight.data(), kEps, out, nullptr);
    });
  };
  const std::vector<int32_t> chosen{299, 0, 17, 17, 256};
  check_rounded(norm(chosen), rms_norm_reference(x, weight, static_cast<double>(kEps), chosen), kWidth,
                kNormArithmetic);
  const Rounded all = norm(first_rows(300));
  for (const int32_t row : {0, 1, 150, 299}) {
    const Rounded alone = norm({row});
    CHECK(same_bits(std::span<const __half>(alone.rows).first(kWidth),
                    std::span<const __half>(all.rows).subspan(static_cast<size_t>(row) * kWidth, kWidth)));
    CHECK(alone.scale[0] == all.scale[static_cast<size_t>(row)]);
  }
}

TEST_CASE("RMS norm without scales, and of zeros", "[cuda][elementwise][sanitize]") {
  NEEDS_CUDA_DEVICE();
  constexpr int64_t kWidth = 896;
  const std::vector<float> x = normal_values(5 * kWidth, 5), weight = normal_values(kWidth, 6);
  const auto d_x = to_device(x), d_weight = to_device(weight);
  const auto rows = poisoned<__half>(5 * kWidth);
  rms_norm(d_x.data(), kWidth, nullptr, 5, d_weight.data(), kEps, {rows.data(), nullptr, kWidth}, nullptr);
  const std::vector<double> expected =
      rms_norm_reference(x, weight, static_cast<double>(kEps), first_rows(5));
  const std::vector<__half> got = to_host(rows);
  int wrong = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(half_value(got[i])) - expected[i]);
    wrong += !(error <= std::abs(expected[i]) * (0x1p-11 + 2e-6) + 0x1p-24);
  }
  CHECK(wrong == 0);

  const auto zeros = DeviceBuffer<float>::zeroed(kWidth);
  const Rounded nothing = rounded(1, kWidth, [&](const HalfRowsOut& out) {
    rms_norm(zeros.data(), kWidth, nullptr, 1, d_weight.data(), kEps, out, nullptr);
  });
  CHECK(std::isfinite(nothing.scale[0]));
  for (size_t i = 0; i < kWidth; ++i) REQUIRE(half_value(nothing.rows[i]) == 0.0f);
}

TEST_CASE("rows are rounded with or without their known maximum, and widened", "[cuda][elementwise]") {
  NEEDS_CUDA_DEVICE();
  check_rounding({1, 31, 48, 896, 4864, 18944, 29568}, {1, 5, 100});
}

TEST_CASE("infinities and NaN stay visible", "[cuda][elementwise][sanitize]") {
  NEEDS_CUDA_DEVICE();
  std::vector<float> x(2 * 64, 1.0f);
  x[5] = std::numeric_limits<float>::quiet_NaN();
  x[64 + 7] = std::numeric_limits<float>::infinity();
  const auto d_x = to_device(x);
  const Rounded got =
      rounded(2, 64, [&](const HalfRowsOut& out) { round_rows(d_x.data(), 64, 2, nullptr, out, nullptr); });
  CHECK(std::isnan(half_value(got.rows[5])));
  CHECK(std::isinf(half_value(got.rows[64 + 7])));
  CHECK(got.scale[0] == 1.0f);
  CHECK(got.scale[1] == 1.0f);
}

TEST_CASE("tokens come from the host or from the step before", "[cuda][elementwise][sanitize]") {
  NEEDS_CUDA_DEVICE();
  std::vector<int32_t> tokens(300), token_rows(300), expected(300);
  const std::vector<int32_t> drawn{1000, 1001, 1002, 1003};
  for (int32_t t = 0; t < 300; ++t) {
    const auto i = static_cast<size_t>(t);
    tokens[i] = t;
    token_rows[i] = t % 3 == 0 ? t % 4 : -1;
    expected[i] = t % 3 == 0 ? 1000 + t % 4 : t;
  }
  const auto d_tokens = to_device(tokens), d_rows = to_device(token_rows), d_drawn = to_device(drawn);
  const auto ids = poisoned<int32_t>(301);
  DeviceStep step{};
  step.tokens = d_tokens.data();
  step.token_rows = d_rows.data();
  step.num_tokens = 300;
  resolve_tokens(step, d_drawn.data(), ids.data(), nullptr);
  expected.push_back(-1);
  CHECK(to_host(ids) == expected);
}
