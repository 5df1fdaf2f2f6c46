// Products with few rows against double precision: weights count as they are, activations in one plane or
// two.
#include <cmath>
#include <span>

#include "kernels/cuda/matmul.h"
#include "tests/cuda/cuda_test.h"
#include "tests/kernels/random_weights.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

constexpr int64_t kCols = 512, kRows = 90;

std::unique_ptr<CudaMatrix> upload(const RandomWeights& weights) {
  WeightUploader uploader(nullptr);
  const HostMatrix part = weights.matrix();
  auto matrix = uploader.upload({&part, 1});
  uploader.wait();
  return matrix;
}

// [num_tokens, kRows]
std::vector<float> run_skinny(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens,
                              Epilogue epilogue = Epilogue::Store, float before = 0.0f) {
  const auto out = to_device(std::vector<float>(static_cast<size_t>(num_tokens * kRows), before));
  matmul_skinny(w, in, num_tokens, epilogue, {out.data(), kRows, nullptr}, nullptr);
  return to_host(out);
}

// [kRows] of row t of `in`, by one expert's weights
std::vector<double> product(const std::vector<float>& weights, const TestRows& in, int32_t t) {
  std::vector<double> y(static_cast<size_t>(kRows), 0.0);
  for (size_t r = 0; r < y.size(); ++r) {
    for (int64_t i = 0; i < kCols; ++i) {
      y[r] += static_cast<double>(weights[r * kCols + static_cast<size_t>(i)]) * in.value(t, i);
    }
  }
  return y;
}

// ||got - want|| / ||want||
double row_error(std::span<const float> got, const std::vector<double>& want) {
  double error = 0.0, power = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - want[i], 2);
    power += want[i] * want[i];
  }
  const double relative = std::sqrt(error / power);
  return std::isnan(relative) ? INFINITY : relative;
}

// Products of FP16 and of codes are exact, and their sums are FP32's.
constexpr double kTolerance = 1e-5;

// Steps of these many tokens at most 64, each by every format, in one plane and two.
void check_every_format(std::initializer_list<int32_t> token_counts) {
  quant::AllFormats::for_each([&]<class F>() {
    if (F::kType == DType::BF16) return;  // FP16 on the device: not its values exactly
    const RandomWeights weights(F::kType, kRows, kCols, 1, 3, 0.2f);
    const std::vector<float> values = weights.dequantized();
    const auto w = upload(weights);
    for (const bool two_planes : {false, true}) {
      const TestRows in(64, kCols, 5, {-11, 20, -60}, two_planes);
      std::vector<std::vector<double>> expected;
      for (int32_t t = 0; t < 64; ++t) expected.push_back(product(values, in, t));
      const std::vector<float> whole = run_skinny(*w, in.view(), 64);
      for (const int32_t num_tokens : token_counts) {
        INFO(F::kName << ", " << (two_planes ? "two planes, " : "one plane, ") << num_tokens << " tokens");
        const int32_t first = 64 - num_tokens;
        const std::vector<float> out = run_skinny(*w, in.view().from(first), num_tokens);
        double worst = 0.0;
        for (int32_t t = 0; t < num_tokens; ++t) {
          worst = std::max(worst, row_error(std::span(out).subspan(static_cast<size_t>(t * kRows), kRows),
                                            expected[static_cast<size_t>(first + t)]));
        }
        CHECK(worst < kTolerance);
        // A token's bits are the same in any company.
        CHECK(same_bits(std::span<const float>(out),
                        std::span<const float>(whole).subspan(static_cast<size_t>(first * kRows))));
      }
    }
  });
}

}  // namespace

TEST_CASE("skinny products of every format in one plane and two", "[cuda][matmul_skinny]") {
  NEEDS_CUDA_DEVICE();
  check_every_format({1, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64});
}

TEST_CASE("skinny products of every format, few steps", "[cuda][matmul_skinny][sanitize]") {
  NEEDS_CUDA_DEVICE();
  check_every_format({1, 13});
}

TEST_CASE("a second plane of zeros changes no bit", "[cuda][matmul_skinny]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F32, DType::F16, DType::Q8_0, DType::Q4_K}) {
    const auto w = upload(RandomWeights(type, kRows, kCols, 1, 7));
    const TestRows in(40, kCols, 11);
    const auto zeros = DeviceBuffer<__half>::zeroed(in.host.size());
    HalfRows padded = in.view();
    padded.low = zeros.data();
    for (const int32_t num_tokens : {1, 7, 40}) {
      INFO(format_info(type).name << ", " << num_tokens << " tokens");
      CHECK(same_bits(std::span<const float>(run_skinny(*w, in.view(), num_tokens)),
                      std::span<const float>(run_skinny(*w, padded, num_tokens))));
    }
  }
}

TEST_CASE("products of two planes are added to what is there", "[cuda][matmul_skinny]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F32, DType::F16, DType::Q6_K}) {
    const RandomWeights weights(type, kRows, kCols, 1, 13, 0.2f);
    const std::vector<float> values = weights.dequantized();
    const TestRows in(21, kCols, 19, {-11, -13}, true);
    const std::vector<float> sums = run_skinny(*upload(weights), in.view(), 21, Epilogue::Add, 3.0f);
    for (int32_t t = 0; t < 21; ++t) {
      INFO(format_info(type).name << ", token " << t);
      std::vector<double> want = product(values, in, t);
      for (double& y : want) y += 3.0;
      CHECK(row_error(std::span(sums).subspan(static_cast<size_t>(t * kRows), kRows), want) < kTolerance);
    }
  }
}

TEST_CASE("experts' products of rows in two planes", "[cuda][matmul_skinny][sanitize]") {
  NEEDS_CUDA_DEVICE();
  constexpr int32_t kExperts = 3;
  // Expert 0 has 70 pairs, more than one pass takes; expert 1 has none; expert 2 has 5.
  const std::vector<int32_t> offsets{0, 70, 70, 75};
  std::vector<int32_t> input_rows, output_rows;
  for (int32_t p = 0; p < 75; ++p) {
    input_rows.push_back(p * 7 % 40);
    output_rows.push_back(p * 11 % 75);
  }
  const auto d_offsets = to_device(offsets), d_input = to_device(input_rows),
             d_output = to_device(output_rows);
  const ExpertPairs pairs{d_offsets.data(), d_input.data(), d_output.data(), kExperts, 75};
  for (const DType type : {DType::F32, DType::F16, DType::Q8_0, DType::Q5_K}) {
    const RandomWeights weights(type, kRows, kCols, kExperts, 23, 0.2f);
    const auto w = upload(weights);
    const TestRows in(40, kCols, 29, {-11, 4}, true);
    const auto out = poisoned<float>(static_cast<size_t>(76 * kRows));
    matmul_experts(*w, in.view(), pairs, Epilogue::Store, {out.data(), kRows, nullptr}, nullptr);
    const std::vector<float> got = to_host(out);
    const std::vector<float> experts[] = {weights.dequantized(0), {}, weights.dequantized(2)};
    double worst = 0.0;
    for (size_t p = 0; p < 75; ++p) {
      const std::vector<double> want = product(experts[p < 70 ? 0 : 2], in, input_rows[p]);
      const auto at = static_cast<size_t>(output_rows[p] * kRows);
      worst = std::max(worst, row_error(std::span(got).subspan(at, kRows), want));
    }
    INFO(format_info(type).name);
    CHECK(worst < kTolerance);
    CHECK(is_poison(got.back()));
  }
}
