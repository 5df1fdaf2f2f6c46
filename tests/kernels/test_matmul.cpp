// The matrix product: every format on every instruction set that this machine has.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "tests/kernels/random_weights.h"
#include "tests/support/catch2.h"

namespace qwend::cpu {
namespace {

std::vector<Isa> all_isas() {
  std::vector<Isa> isas{Isa::Scalar};
  if (best_isa() >= Isa::Avx2) isas.push_back(Isa::Avx2);
  if (best_isa() >= Isa::Avx512) isas.push_back(Isa::Avx512);
  return isas;
}

std::vector<float> random_activations(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

PackedMatrix pack_one(const RandomWeights& weights, ThreadPool& pool) {
  const HostMatrix part = weights.matrix();
  return PackedMatrix::pack({&part, 1}, pool);
}

// y = x W^T for dense x [tokens, cols] by the kernels under test. y starts at `before`.
std::vector<float> product(Matmul& matmul, const PackedMatrix& w, const std::vector<float>& x,
                           Epilogue epilogue = Epilogue::Store, int64_t expert = 0, float before = 0.0f,
                           const float* row_scale = nullptr) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols();
  const int64_t width = epilogue == Epilogue::SwiGlu ? w.rows() / 2 : w.rows();
  std::vector<float> y(static_cast<size_t>(tokens * width), before);
  matmul.run(w, {x.data(), w.cols(), static_cast<int32_t>(tokens)}, {y.data(), width}, epilogue, expert,
             row_scale);
  return y;
}

// The same in double precision, from dequantised weights. magnitudes: sum of |x w|, for tolerances.
struct Reference {
  std::vector<double> y, magnitudes;
};
Reference reference(const std::vector<float>& w, const std::vector<float>& x, int64_t cols) {
  const size_t width = static_cast<size_t>(cols), rows = w.size() / width, tokens = x.size() / width;
  Reference result;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < width; ++k) {
        const double term = static_cast<double>(x[t * width + k]) * w[r * width + k];
        sum += term;
        magnitude += std::abs(term);
      }
      result.y.push_back(sum);
      result.magnitudes.push_back(magnitude);
    }
  }
  return result;
}

double relative_rms_error(const std::vector<float>& y, const std::vector<double>& expected) {
  REQUIRE(y.size() == expected.size());
  double error = 0, power = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    error += (y[i] - expected[i]) * (y[i] - expected[i]);
    power += expected[i] * expected[i];
  }
  return std::sqrt(error / power);
}

bool same_bits(const float* a, const float* b, size_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

bool is_float(DType type) { return format_info(type).block_elements == 1; }

}  // namespace

TEST_CASE("packing keeps every weight exactly", "[kernels][matmul]") {
  ThreadPool pool(3);
  quant::AllFormats::for_each([&]<class F>() {
    INFO(F::kName);
    const RandomWeights weights(F::kType, 71, 768, 2, 11);
    const PackedMatrix packed = pack_one(weights, pool);
    CHECK(packed.bytes() ==
          format_bytes(F::kType, int64_t{96} * 768 * 2));  // rows are padded to 32, nothing else
    int wrong = 0;
    for (int64_t expert = 0; expert < 2; ++expert) {
      const std::vector<float> expected = weights.dequantized(expert);
      std::vector<float> row(768);
      for (int64_t r = 0; r < 71; ++r) {
        packed.dequantize_row(r, row.data(), expert);
        wrong += !same_bits(row.data(), &expected[static_cast<size_t>(r * 768)], 768);
      }
    }
    CHECK(wrong == 0);
  });
}

TEST_CASE("products match dequantised weights within the rounding of activations", "[kernels][matmul]") {
  ThreadPool pool(2);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    quant::AllFormats::for_each([&]<class F>() {
      const RandomWeights weights(F::kType, 45, 1280, 1, 3);
      const PackedMatrix packed = pack_one(weights, pool);
      for (int64_t tokens : {1, 2, 5, 13}) {
        INFO(F::kName << ", " << name_of(isa) << ", " << tokens << " tokens");
        const std::vector<float> x = random_activations(tokens * 1280, 5);
        const Reference expected = reference(weights.dequantized(), x, 1280);
        const std::vector<float> y = product(matmul, packed, x);
        // 15 bits with a scale per 32 values of a normal distribution: about 4e-5 of each value.
        CHECK(relative_rms_error(y, expected.y) < (is_float(F::kType) ? 1e-6 : 1e-4));
        int wrong = 0;
        for (size_t i = 0; i < y.size(); ++i) {
          const double allowed = (is_float(F::kType) ? 2e-6 : 3e-5) * expected.magnitudes[i];
          wrong += !(std::abs(y[i] - expected.y[i]) <= allowed);
        }
        CHECK(wrong == 0);
      }
    });
  }
}

TEST_CASE("instruction sets agree with the scalar reference", "[kernels][matmul]") {
  ThreadPool pool(1);
  Matmul scalar(pool, Isa::Scalar);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    quant::AllFormats::for_each([&]<class F>() {
      const RandomWeights weights(F::kType, 64, 2304, 1, 17);
      const PackedMatrix packed = pack_one(weights, pool);
      for (int64_t tokens : {1, 7}) {
        INFO(F::kName << ", " << name_of(isa) << ", " << tokens << " tokens");
        const std::vector<float> x = random_activations(tokens * 2304, 23);
        const std::vector<float> expected = product(scalar, packed, x);
        const std::vector<float> y = product(matmul, packed, x);
        CHECK(relative_rms_error(y, {expected.begin(), expected.end()}) < 5e-6);
      }
    });
  }
}

TEST_CASE("extreme activations and codes do not saturate", "[kernels][matmul]") {
  // All activations of full size and equal sign, against rows of extreme codes: the largest integer sums.
  ThreadPool pool(1);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    quant::BlockFormats::for_each([&]<class F>() {
      for (int fill : {0x00, 0x7f, 0x80, 0xff}) {
        INFO(F::kName << ", " << name_of(isa) << ", bytes " << fill);
        typename F::Block block;
        std::memset(&block, fill, sizeof(block));
        block.d = {{0x00, 0x2c}};  // 1/16
        if constexpr (requires { block.dmin; }) block.dmin = {{0x00, 0x2c}};
        if constexpr (requires { block.m; }) block.m = {{0x00, 0x2c}};
        const std::vector<typename F::Block> file(static_cast<size_t>(32 * 512 / F::kBlock), block);
        const HostMatrix part{"w", reinterpret_cast<const std::byte*>(file.data()), F::kType, 32, 512};
        const PackedMatrix packed = PackedMatrix::pack({&part, 1}, pool);
        std::vector<float> dense(32 * 512);
        dequantize(F::kType, file.data(), dense.data(), 32 * 512);
        for (float sign : {1.0f, -1.0f}) {
          const std::vector<float> x(3 * 512, sign * 127.0f);  // represented exactly
          const Reference expected = reference(dense, x, 512);
          const std::vector<float> y = product(matmul, packed, x);
          int wrong = 0;
          for (size_t i = 0; i < y.size(); ++i) {
            wrong += !(std::abs(y[i] - expected.y[i]) <= 1e-5 * expected.magnitudes[i] + 1e-3);
          }
          CHECK(wrong == 0);
        }
      }
    });
  }
}

TEST_CASE("a token's result is the same bits in any company", "[kernels][matmul]") {
  ThreadPool one(1), four(4);
  for (Isa isa : all_isas()) {
    Matmul alone(one, isa), team(four, isa);
    quant::AllFormats::for_each([&]<class F>() {
      INFO(F::kName << ", " << name_of(isa));
      constexpr int64_t kRows = 100, kCols = 2304, kTokens = 29;
      const RandomWeights weights(F::kType, kRows, kCols, 1, 29);
      const PackedMatrix packed = pack_one(weights, one);
      const std::vector<float> x = random_activations(kTokens * kCols, 31);
      const std::vector<float> all = product(team, packed, x);
      CHECK(all == product(alone, packed, x));
      for (int64_t count : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25}) {
        const int64_t first = (count * 7) % (kTokens - count + 1);
        const std::vector<float> some(x.begin() + first * kCols, x.begin() + (first + count) * kCols);
        const std::vector<float> y = product(count % 2 ? alone : team, packed, some);
        INFO(count << " tokens");
        CHECK(same_bits(y.data(), &all[static_cast<size_t>(first * kRows)], y.size()));
      }
    });
  }
}

TEST_CASE("epilogues", "[kernels][matmul]") {
  ThreadPool pool(2);
  constexpr int64_t kCols = 512, kTokens = 9;
  const std::vector<float> x = random_activations(kTokens * kCols, 37);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    for (DType type : {DType::F16, DType::Q8_0, DType::Q4_K}) {
      INFO(format_info(type).name << ", " << name_of(isa));
      const RandomWeights gate(type, 72, kCols, 1, 41, 0.2f), up(type, 72, kCols, 1, 43, 0.2f);
      const std::vector<HostMatrix> parts{gate.matrix("gate"), up.matrix("up")};
      const PackedMatrix w = PackedMatrix::pack(parts, pool);
      const std::vector<float> stored = product(matmul, w, x);
      std::vector<float> scales(kTokens);
      for (size_t t = 0; t < scales.size(); ++t) scales[t] = 0.25f * static_cast<float>(t);

      const std::vector<float> added = product(matmul, w, x, Epilogue::Add, 0, 2.0f);
      const std::vector<float> scaled = product(matmul, w, x, Epilogue::AddScaled, 0, 2.0f, scales.data());
      const std::vector<float> swiglu = product(matmul, w, x, Epilogue::SwiGlu);
      int wrong = 0;
      for (size_t t = 0; t < kTokens; ++t) {
        for (size_t r = 0; r < 144; ++r) {
          const float sum = stored[t * 144 + r];
          wrong += added[t * 144 + r] != 2.0f + sum;
          wrong += std::abs(scaled[t * 144 + r] - (2.0f + scales[t] * sum)) > 1e-6f * (2.0f + std::abs(sum));
        }
        for (size_t r = 0; r < 72; ++r) {
          const double g = stored[t * 144 + r], u = stored[t * 144 + 72 + r];
          const double expected = g / (1.0 + std::exp(-g)) * u;
          wrong += !(std::abs(swiglu[t * 72 + r] - expected) <= 1e-6 * std::abs(expected) + 1e-30);
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("SwiGLU holds for gates of any size", "[kernels][matmul]") {
  ThreadPool pool(1);
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> gates{0.0f,   1e-8f, -1e-8f, 3.0f, -3.0f, 20.0f,
                                 -20.0f, 86.0f, -86.0f, 1e4f, -1e4f, 1e30f};
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    // Two columns: x = (gate, 1); the gate row takes the first, the up row the second.
    const float file[2][2] = {{1, 0}, {0, 1}};
    const HostMatrix parts[2] = {{"gate", reinterpret_cast<const std::byte*>(file[0]), DType::F32, 1, 2},
                                 {"up", reinterpret_cast<const std::byte*>(file[1]), DType::F32, 1, 2}};
    const PackedMatrix w = PackedMatrix::pack(parts, pool);
    for (float g : gates) {
      const double expected = g / (1.0 + std::exp(-static_cast<double>(g)));
      INFO(name_of(isa) << ", gate " << g);
      const float y = product(matmul, w, {g, 1.0f}, Epilogue::SwiGlu)[0];
      CHECK(std::abs(y - expected) <= 1e-6 * std::abs(expected) + 1e-33);
    }
    CHECK(std::isnan(product(matmul, w, {std::nanf(""), 1.0f}, Epilogue::SwiGlu)[0]));
    CHECK_FALSE(std::isfinite(product(matmul, w, {inf, 1.0f}, Epilogue::SwiGlu)[0]));
  }
}

TEST_CASE("parts of different formats and ragged rows follow each other", "[kernels][matmul]") {
  ThreadPool pool(2);
  const RandomWeights q(DType::Q5_0, 96, 896, 1, 47), k(DType::F16, 33, 896, 1, 53),
      v(DType::Q8_0, 20, 896, 1, 59);
  const std::vector<HostMatrix> parts{q.matrix("q"), k.matrix("k"), v.matrix("v")};
  const PackedMatrix all = PackedMatrix::pack(parts, pool);
  REQUIRE(all.rows() == 149);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    for (int64_t tokens : {1, 8}) {
      const std::vector<float> x = random_activations(tokens * 896, 61);
      const std::vector<float> y = product(matmul, all, x);
      size_t first = 0;
      for (const RandomWeights* part : {&q, &k, &v}) {
        const std::vector<float> alone = product(matmul, pack_one(*part, pool), x);
        const size_t rows = alone.size() / static_cast<size_t>(tokens);
        for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
          CHECK(same_bits(&y[t * 149 + first], &alone[t * rows], rows));
        }
        first += rows;
      }
    }
  }
}

TEST_CASE("experts and row lists", "[kernels][matmul]") {
  ThreadPool pool(2);
  constexpr int64_t kExperts = 3, kRows = 40, kCols = 256, kTokens = 7;
  const RandomWeights weights(DType::Q6_K, kRows, kCols, kExperts, 67);
  const PackedMatrix packed = pack_one(weights, pool);
  const std::vector<float> x = random_activations(kTokens * kCols, 71);
  const std::vector<int32_t> in{5, 0, 3}, out{1, 6, 2};
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    for (int64_t expert = 0; expert < kExperts; ++expert) {
      const std::vector<float> all = product(matmul, packed, x, Epilogue::Store, expert);
      const Reference expected = reference(weights.dequantized(expert), x, kCols);
      CHECK(relative_rms_error(all, expected.y) < 1e-4);
      const float untouched = 12345.0f;
      std::vector<float> y(kTokens * kRows, untouched);
      matmul.run(packed, {x.data(), kCols, 3, in.data()}, {y.data(), kRows, out.data()}, Epilogue::Store,
                 expert);
      for (int32_t t = 0; t < kTokens; ++t) {
        const auto listed = std::find(out.begin(), out.end(), t);
        const float* row = &y[static_cast<size_t>(t * kRows)];
        if (listed == out.end()) {
          CHECK(std::all_of(row, row + kRows, [&](float value) { return value == untouched; }));
        } else {
          const int32_t source = in[static_cast<size_t>(listed - out.begin())];
          CHECK(same_bits(row, &all[static_cast<size_t>(source * kRows)], kRows));
        }
      }
    }
  }
}

TEST_CASE("activations that are not finite reach the result", "[kernels][matmul]") {
  ThreadPool pool(1);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    for (DType type : {DType::F16, DType::Q8_0, DType::Q4_K, DType::Q6_K}) {
      const PackedMatrix packed = pack_one(RandomWeights(type, 32, 256, 1, 73), pool);
      for (float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
        for (int64_t tokens : {1, 3}) {
          std::vector<float> x = random_activations(tokens * 256, 79);
          x[100] = bad;
          const std::vector<float> y = product(matmul, packed, x);
          CHECK(std::none_of(y.begin(), y.begin() + 32, [](float value) { return std::isfinite(value); }));
          CHECK(std::all_of(y.begin() + 32, y.end(), [](float value) { return std::isfinite(value); }));
        }
      }
      const std::vector<float> y = product(matmul, packed, std::vector<float>(256, 0.0f));
      CHECK(std::all_of(y.begin(), y.end(), [](float value) { return value == 0.0f; }));
    }
  }
}

// The scales of rounded activations are powers of two, so a power of two in x comes out as it went in, up to
// the sizes that are refused as if they were not finite.
TEST_CASE("activations of any size give results of that size", "[kernels][matmul]") {
  ThreadPool pool(1);
  for (Isa isa : all_isas()) {
    Matmul matmul(pool, isa);
    for (DType type : {DType::Q8_0, DType::Q4_K, DType::Q6_K, DType::IQ4_NL}) {
      const PackedMatrix packed = pack_one(RandomWeights(type, 32, 256, 1, 83), pool);
      for (int64_t tokens : {1, 3}) {
        const std::vector<float> x = random_activations(tokens * 256, 89), y = product(matmul, packed, x);
        const auto scaled = [](std::vector<float> values, int power) {
          for (float& value : values) value = std::ldexp(value, power);
          return values;
        };
        for (int power : {-45, -9, 30, 55}) {
          INFO(name_of(isa) << ", format " << static_cast<int>(type) << ", " << tokens << " tokens, 2^"
                            << power);
          CHECK(product(matmul, packed, scaled(x, power)) == scaled(y, power));
        }
        const std::vector<float> huge = product(matmul, packed, scaled(x, 70));
        CHECK(std::none_of(huge.begin(), huge.end(), [](float value) { return std::isfinite(value); }));
        const std::vector<float> tiny = product(matmul, packed, scaled(x, -100));
        CHECK(std::all_of(tiny.begin(), tiny.end(), [](float value) { return std::abs(value) < 1e-15f; }));
      }
    }
  }
}

TEST_CASE("parts that do not fit together are refused by name", "[kernels][matmul]") {
  ThreadPool pool(1);
  const RandomWeights a(DType::Q8_0, 32, 256, 1, 1), narrow(DType::Q8_0, 32, 128, 1, 1),
      stack(DType::Q8_0, 32, 256, 2, 1);
  const HostMatrix odd{"odd", nullptr, DType::Q4_K, 4, 128, 1};
  const HostMatrix integers{"ids", nullptr, DType::I32, 4, 128, 1};
  auto message = [&](std::vector<HostMatrix> parts) -> std::string {
    try {
      PackedMatrix::pack(parts, pool);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message({a.matrix("q"), narrow.matrix("k")}).find("tensor k: ") == 0);
  CHECK(message({a.matrix("q"), stack.matrix("k")}).find("2 experts") != std::string::npos);
  CHECK(message({odd}).find("multiple of the 256 of Q4_K") != std::string::npos);
  CHECK(message({integers}).find("I32") != std::string::npos);
  CHECK(message({a.matrix("q")}).empty());
}

}  // namespace qwend::cpu
