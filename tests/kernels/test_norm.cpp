// Element-wise operations against plain double-precision loops, for every instruction set of this machine.
#include <cmath>
#include <limits>
#include <random>

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/vector_ops.h"
#include "kernels/quant/half.h"
#include "tests/support/catch2.h"

using namespace qwend;
using namespace qwend::cpu;

namespace {

std::vector<const VectorOps*> all_ops() {
  std::vector<const VectorOps*> list{&portable_vector_ops()};
#if defined(__x86_64__)
  if (best_isa() >= Isa::Avx2) list.push_back(&avx2_vector_ops());
  if (best_isa() >= Isa::Avx512) list.push_back(&avx512_vector_ops());
#endif
  return list;
}

std::vector<float> random_row(size_t n, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> row(n);
  for (float& x : row) x = normal(random);
  return row;
}

// `n` results and then what must stay untouched.
constexpr float kPoison = -12345.0f;
std::vector<float> output(size_t n) { return std::vector<float>(n + 20, kPoison); }
void check_untouched(const std::vector<float>& out, size_t n) {
  for (size_t i = n; i < out.size(); ++i) CHECK(out[i] == kPoison);
}

constexpr size_t kSizes[] = {1, 7, 8, 15, 16, 17, 31, 33, 64, 100, 896, 4097};

}  // namespace

TEST_CASE("RMS norm", "[kernels][norm]") {
  for (const VectorOps* ops : all_ops()) {
    for (const size_t n : kSizes) {
      INFO(ops->name << " n " << n);
      std::vector<float> x = random_row(n, 1), weight = random_row(n, 2), out = output(n);
      ops->rms_norm(x.data(), weight.data(), 1e-6f, static_cast<int64_t>(n), out.data());
      double squares = 0.0;
      for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-6);
      for (size_t i = 0; i < n; ++i) {
        CHECK(out[i] ==
              Approx(static_cast<double>(x[i]) * scale * static_cast<double>(weight[i])).epsilon(2e-6));
      }
      check_untouched(out, n);
      ops->rms_norm(x.data(), weight.data(), 1e-6f, static_cast<int64_t>(n), x.data());  // in place
      CHECK(std::equal(x.begin(), x.end(), out.begin()));
    }
  }
}

TEST_CASE("RMS norm of rows with outliers and of zeros", "[kernels][norm]") {
  for (const VectorOps* ops : all_ops()) {
    std::vector<float> x = random_row(896, 3), weight(896, 1.0f), out(896);
    x[17] = 3e4f;
    x[800] = -9e15f;  // its square is beyond F16 and BF16 alike, and still fits FP32
    ops->rms_norm(x.data(), weight.data(), 1e-6f, 896, out.data());
    CHECK(out[800] == Approx(-std::sqrt(896.0)).epsilon(1e-5));
    for (const float v : out) CHECK(std::isfinite(v));
    x.assign(896, 0.0f);
    ops->rms_norm(x.data(), weight.data(), 1e-6f, 896, out.data());
    for (const float v : out) CHECK(v == 0.0f);
  }
}

TEST_CASE("SwiGLU", "[kernels][norm]") {
  for (const VectorOps* ops : all_ops()) {
    for (const size_t n : kSizes) {
      INFO(ops->name << " n " << n);
      std::vector<float> gate = random_row(n, 4, 5.0f), up = random_row(n, 5), out = output(n);
      if (n > 8) gate[1] = -1e4f, gate[2] = 1e4f, gate[3] = 0.0f, gate[4] = -88.0f, gate[5] = -1e30f;
      ops->silu_mul(gate.data(), up.data(), static_cast<int64_t>(n), out.data());
      for (size_t i = 0; i < n; ++i) {
        const double g = static_cast<double>(gate[i]);
        CHECK(out[i] ==
              Approx(g / (1.0 + std::exp(-g)) * static_cast<double>(up[i])).epsilon(2e-6).margin(1e-30));
      }
      check_untouched(out, n);
    }
  }
}

TEST_CASE("dot, add, scaled add, maximum", "[kernels][norm]") {
  for (const VectorOps* ops : all_ops()) {
    for (const size_t n : kSizes) {
      INFO(ops->name << " n " << n);
      const auto count = static_cast<int64_t>(n);
      const std::vector<float> x = random_row(n, 6), y = random_row(n, 7);
      double dot = 0.0, size = 0.0;
      for (size_t i = 0; i < n; ++i) {
        dot += static_cast<double>(x[i]) * static_cast<double>(y[i]);
        size += std::abs(static_cast<double>(x[i]) * static_cast<double>(y[i]));
      }
      CHECK(std::abs(static_cast<double>(ops->dot(x.data(), y.data(), count)) - dot) <= 1e-6 * size);
      std::vector<float> sum = output(n), scaled = output(n);
      std::copy(x.begin(), x.end(), sum.begin());
      std::copy(x.begin(), x.end(), scaled.begin());
      ops->add(y.data(), count, sum.data());
      ops->add_scaled(y.data(), -0.3f, count, scaled.data());
      for (size_t i = 0; i < n; ++i) {
        CHECK(sum[i] == x[i] + y[i]);
        CHECK(scaled[i] == Approx(x[i] - 0.3f * y[i]).margin(1e-6));
      }
      check_untouched(sum, n);
      check_untouched(scaled, n);
      CHECK(ops->max(x.data(), count) == *std::max_element(x.begin(), x.end()));
    }
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    CHECK(ops->max(nullptr, 0) == -inf);
    CHECK(ops->max(&nan, 1) == -inf);
    std::vector<float> mixed(40, nan);
    mixed[0] = -7.0f, mixed[20] = -5.0f;
    CHECK(ops->max(mixed.data(), 40) == -5.0f);
  }
}

TEST_CASE("finite copies and what is at least a bound", "[kernels][norm]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  for (const VectorOps* ops : all_ops()) {
    INFO(ops->name);
    CHECK(ops->finite(nullptr, 0, nullptr) == -inf);
    for (const size_t n : kSizes) {
      std::vector<float> x = random_row(n, 9), out = output(n);
      x[n / 2] = nan;
      x[n - 1] = -inf;
      const auto count = static_cast<int64_t>(n);
      const float top = ops->finite(x.data(), count, out.data());
      CHECK(top == *std::max_element(out.begin(), out.begin() + count));
      for (size_t i = 0; i < n; ++i) CHECK(out[i] == (std::isnan(x[i]) ? -inf : x[i]));
      check_untouched(out, n);
      x[0] = inf;
      CHECK(ops->finite(x.data(), count, x.data()) == largest);  // in place
      CHECK(x[0] == largest);
    }
    std::vector<float> x = random_row(64, 10);
    x[3] = nan, x[40] = inf, x[63] = 0.25f;
    for (const int n : {0, 1, 15, 16, 17, 41, 63, 64}) {
      uint64_t expected = 0;
      for (int i = 0; i < n; ++i) expected |= uint64_t{x[static_cast<size_t>(i)] >= 0.25f} << i;
      CHECK(ops->at_least(x.data(), 0.25f, n) == expected);
    }
  }
}

TEST_CASE("exponentials and their sum", "[kernels][norm]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const VectorOps* ops : all_ops()) {
    INFO(ops->name);
    for (const size_t n : {size_t{1}, size_t{17}, size_t{4096}, size_t{10001}}) {
      const std::vector<float> x = random_row(n, 8, 10.0f);
      std::vector<float> out = output(n);
      double expected = 0.0;
      const double sum = ops->exp_sum(x.data(), 3.0f, 0.7f, static_cast<int64_t>(n), out.data());
      for (size_t i = 0; i < n; ++i) {
        const double e = std::exp(0.7 * (static_cast<double>(x[i]) - 3.0));
        expected += e;
        CHECK(out[i] == Approx(e).epsilon(4e-6));
      }
      CHECK(sum == Approx(expected).epsilon(2e-6));
      CHECK(ops->exp_sum(x.data(), 3.0f, 0.7f, static_cast<int64_t>(n), nullptr) == sum);
      check_untouched(out, n);
    }
    const std::vector<float> odd{0.0f, -inf, nan, -90.0f, -1e30f};
    std::vector<float> out(5);
    CHECK(ops->exp_sum(odd.data(), 0.0f, 1.0f, 5, out.data()) == 1.0);
    CHECK(out == std::vector<float>{1, 0, 0, 0, 0});
  }
}

TEST_CASE("conversion to F16", "[kernels][norm]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const VectorOps* ops : all_ops()) {
    INFO(ops->name);
    std::vector<float> x = random_row(77, 9, 100.0f);
    x[3] = 1e-7f, x[4] = 1e6f, x[5] = -inf, x[6] = nan, x[7] = 65519.0f;
    std::vector<uint16_t> out(80, 0xabcd);
    ops->to_half(x.data(), 77, out.data());
    for (size_t i = 0; i < 77; ++i) {
      if (i == 6)
        CHECK(std::isnan(quant::half_to_float(out[i])));
      else
        CHECK(out[i] == quant::float_to_half(std::clamp(x[i], -65504.0f, 65504.0f)));
    }
    CHECK(out[77] == 0xabcd);
  }
}
