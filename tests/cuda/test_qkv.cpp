// Bias, QK-norm, rotation and the write to the cache on the device, against the definition in double
// precision.
#include <cmath>
#include <random>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/quant/half.h"
#include "tests/cuda/cuda_test.h"
#include "tests/support/catch2.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

struct Case {
  int32_t head_dim, heads, kv_heads, rotary_dim;
  bool bias, norm;
  float magnitude;
};

constexpr int32_t kBlockSize = 16, kBlocks = 5, kMaxPosition = 300;
constexpr uint16_t kUnwritten = 0x7e42;

RopeTable rope_of(const Case& c) {
  RopeTable table;
  table.rotary_dim = c.rotary_dim;
  table.magnitude = c.magnitude;
  for (int32_t i = 0; i < c.rotary_dim / 2; ++i)
    table.inv_freq.push_back(std::pow(1e6, -2.0 * i / c.rotary_dim));
  return table;
}

std::vector<float> random_values(size_t count, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = scale * normal(random);
  return values;
}

// One head as finish_qkv defines it.
std::vector<double> expected(const Case& c, const float* x, const float* bias, const float* norm, bool rotate,
                             int32_t position) {
  const auto width = static_cast<size_t>(c.head_dim);
  std::vector<double> v(width);
  double squares = 0;
  for (size_t d = 0; d < width; ++d) {
    v[d] = static_cast<double>(x[d]) + (bias == nullptr ? 0.0 : static_cast<double>(bias[d]));
    squares += v[d] * v[d];
  }
  if (norm != nullptr) {
    for (size_t d = 0; d < width; ++d)
      v[d] *= static_cast<double>(norm[d]) / std::sqrt(squares / c.head_dim + 1e-6);
  }
  if (!rotate) return v;
  const RopeTable table = rope_of(c);
  const std::vector<double> before = v;
  const size_t half = table.inv_freq.size();
  for (size_t i = 0; i < half; ++i) {
    const double angle = position * table.inv_freq[i], m = static_cast<double>(c.magnitude);
    v[i] = m * (before[i] * std::cos(angle) - before[i + half] * std::sin(angle));
    v[i + half] = m * (before[i] * std::sin(angle) + before[i + half] * std::cos(angle));
  }
  return v;
}

double relative(double got, double want, double scale) { return std::abs(got - want) / scale; }

// Largest value of the cache, and by how much what it keeps of x may differ, apart from the arithmetic.
double limit_of(KvDType cache) { return cache == KvDType::F16 ? 65504.0 : 131008.0; }
double rounding(KvDType cache, double x) {
  return cache == KvDType::F16 ? std::abs(x) * 0x1p-11 : std::abs(x) * 0x1p-22 + 0x1p-25;
}

void check(const Case& c, KvDType cache_type) {
  const std::vector<int32_t> positions{0, 1, 17, 299, 0, 250}, slots{5, 79, 16, 0, -1, 33};
  const size_t tokens = positions.size(), hd = static_cast<size_t>(c.head_dim);
  const auto heads = static_cast<size_t>(c.heads), kv_heads = static_cast<size_t>(c.kv_heads);
  const size_t width = (heads + 2 * kv_heads) * hd;
  std::vector<float> qkv = random_values(tokens * width, 3.0f, 1);
  qkv[width - 1] = 1e6f;  // token 0's last value: beyond FP16
  qkv[width - 2] = -1e6f;
  const std::vector<float> bias = random_values(width, 20.0f, 2), q_norm = random_values(hd, 1.0f, 3),
                           k_norm = random_values(hd, 1.0f, 4);

  // Rows that are still to be scaled, in some cases.
  std::vector<float> row_scale(tokens, 1.0f), scaled = qkv;
  for (size_t t = 0; c.bias && t < tokens; ++t) row_scale[t] = std::ldexp(1.0f, static_cast<int>(t) - 12);
  for (size_t i = 0; i < qkv.size(); ++i) scaled[i] /= row_scale[i / width];

  // The sum of two, in some.
  std::vector<float> low(scaled.size(), 0.0f);
  for (size_t i = 0; c.norm && i < scaled.size(); ++i) low[i] = -scaled[i], scaled[i] *= 2.0f;

  const auto d_qkv = to_device(scaled), d_qkv_low = to_device(low), d_scale = to_device(row_scale),
             d_bias = to_device(bias), d_q_norm = to_device(q_norm), d_k_norm = to_device(k_norm);
  const auto d_positions = to_device(positions), d_slots = to_device(slots);
  const auto rope = make_rope_table_on_device(rope_of(c), kMaxPosition);
  const size_t cache = size_t{kBlocks} * kBlockSize * kv_heads * hd;
  const auto d_keys = to_device(std::vector<uint16_t>(cache, kUnwritten));
  const auto d_values = to_device(std::vector<uint16_t>(cache, kUnwritten));
  const auto d_keys_low = to_device(std::vector<uint16_t>(cache, kUnwritten));
  const auto d_values_low = to_device(std::vector<uint16_t>(cache, kUnwritten));
  const auto d_q = to_device(std::vector<float>(tokens * heads * hd, std::nanf("")));
  KvLayer kv{reinterpret_cast<__half*>(d_keys.data()), reinterpret_cast<__half*>(d_values.data()), c.kv_heads,
             kBlockSize, c.head_dim};
  if (cache_type == KvDType::F32) {
    kv.keys_low = reinterpret_cast<__half*>(d_keys_low.data());
    kv.values_low = reinterpret_cast<__half*>(d_values_low.data());
  }
  DeviceStep step{};
  step.positions = d_positions.data();
  step.slot_mapping = d_slots.data();
  step.num_tokens = static_cast<int32_t>(tokens);
  const QkvFinish op{d_qkv.data(),
                     c.norm ? d_qkv_low.data() : nullptr,
                     c.bias ? d_scale.data() : nullptr,
                     c.bias ? d_bias.data() : nullptr,
                     c.norm ? d_q_norm.data() : nullptr,
                     c.norm ? d_k_norm.data() : nullptr,
                     1e-6f,
                     rope.data(),
                     c.rotary_dim,
                     {c.heads, c.kv_heads, c.head_dim}};
  finish_qkv(op, step, kv, d_q.data(), nullptr);

  const std::vector<float> q = to_host(d_q);
  const std::vector<uint16_t> keys = to_host(d_keys), values = to_host(d_values),
                              keys_low = to_host(d_keys_low), values_low = to_host(d_values_low);
  double q_error = 0, k_error = 0, v_error = 0;
  size_t written = 0;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t h = 0; h < heads + 2 * kv_heads; ++h) {
      const bool is_q = h < heads, is_k = !is_q && h < heads + kv_heads;
      const float* norm = !c.norm || (!is_q && !is_k) ? nullptr : is_q ? q_norm.data() : k_norm.data();
      const std::vector<double> want =
          expected(c, qkv.data() + t * width + h * hd, c.bias ? bias.data() + h * hd : nullptr, norm,
                   is_q || is_k, positions[t]);
      double scale = 0;
      for (const double w : want) scale = std::max(scale, std::abs(w));
      if (is_q) {
        for (size_t d = 0; d < hd; ++d)
          q_error =
              std::max(q_error, relative(static_cast<double>(q[(t * heads + h) * hd + d]), want[d], scale));
        continue;
      }
      if (slots[t] < 0) continue;
      const size_t kv_head = h - heads - (is_k ? 0 : kv_heads);
      const auto at = static_cast<size_t>(kv.offset(slots[t], static_cast<int32_t>(kv_head)));
      for (size_t d = 0; d < hd; ++d, ++written) {
        const double limit = limit_of(cache_type), bounded = std::min(limit, std::max(-limit, want[d]));
        auto got = static_cast<double>(quant::half_to_float((is_k ? keys : values)[at + d]));
        if (cache_type == KvDType::F32)
          got += static_cast<double>(quant::half_to_float((is_k ? keys_low : values_low)[at + d]));
        const double error =
            std::abs(got - bounded) / (rounding(cache_type, bounded) + 2e-6 * std::min(scale, limit));
        (is_k ? k_error : v_error) = std::max(is_k ? k_error : v_error, std::isfinite(got) ? error : 1e9);
      }
    }
  }
  CHECK(q_error <= 2e-6);
  CHECK(k_error <= 1.0);
  CHECK(v_error <= 1.0);
  size_t changed = 0, changed_low = 0;
  for (size_t i = 0; i < cache; ++i) {
    changed += (keys[i] != kUnwritten) + (values[i] != kUnwritten);
    changed_low += (keys_low[i] != kUnwritten) + (values_low[i] != kUnwritten);
  }
  CHECK(changed == written);
  CHECK(changed_low == (cache_type == KvDType::F32 ? written : 0));
}

}  // namespace

TEST_CASE("queries, keys and values are finished", "[cuda][qkv][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for (const KvDType cache : {KvDType::F16, KvDType::F32}) {
    const std::string of_cache = cache == KvDType::F16 ? ", FP16 cache" : ", FP32 cache";
    SECTION("Qwen2.5-0.5B" + of_cache) { check({64, 14, 2, 64, true, false, 1.0f}, cache); }
    SECTION("Qwen2.5-7B with YaRN" + of_cache) { check({128, 28, 4, 128, true, false, 1.1386294f}, cache); }
    SECTION("Qwen3" + of_cache) { check({128, 32, 8, 128, false, true, 1.0f}, cache); }
    SECTION("partial rotation" + of_cache) { check({128, 5, 1, 80, true, true, 1.0f}, cache); }
    SECTION("wide heads" + of_cache) { check({256, 4, 2, 64, false, true, 0.5f}, cache); }
    SECTION("no rotation" + of_cache) { check({64, 3, 3, 0, false, false, 1.0f}, cache); }
  }
}

TEST_CASE("angles are those of double precision, rounded once", "[cuda][qkv]") {
  NEEDS_CUDA_DEVICE();
  const RopeTable table = rope_of({128, 1, 1, 128, false, false, 1.25f});
  constexpr int32_t kPositions = 70000;
  const std::vector<float2> angles = to_host(make_rope_table_on_device(table, kPositions));
  REQUIRE(angles.size() == size_t{kPositions} * 64);
  double worst = 0;
  for (int32_t p = 0; p < kPositions; p += p < 100 ? 1 : 991) {
    for (size_t i = 0; i < 64; ++i) {
      const double angle = p * table.inv_freq[i];
      const float2 got = angles[static_cast<size_t>(p) * 64 + i];
      worst = std::max(worst, std::abs(static_cast<double>(got.x) - 1.25 * std::cos(angle)));
      worst = std::max(worst, std::abs(static_cast<double>(got.y) - 1.25 * std::sin(angle)));
    }
  }
  CHECK(worst <= 1.625 * 0x1p-24);  // half a unit of the cosine, times 1.25, and half a unit of the product
}

TEST_CASE("cache shapes that no kernel serves are refused", "[cuda][qkv]") {
  NEEDS_CUDA_DEVICE();
  const auto refusal = [](const KvCacheSpec& spec) -> std::string {
    try {
      const CudaKvCache cache(spec);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  CHECK(refusal({2, 4, 16, 2, 128, KvDType::F16}) == "accepted");
  CHECK(refusal({2, 4, 16, 2, 128, KvDType::F32}) == "accepted");
  CHECK(refusal({2, 4, 16, 2, 96, KvDType::F16}).find("96") != std::string::npos);
  CHECK(refusal({2, 4, 8, 2, 128, KvDType::F16}).find("block size 8") != std::string::npos);
  CHECK(refusal({0, 4, 16, 2, 128, KvDType::F16}).find("positive") != std::string::npos);

  const CudaKvCache cache({3, 4, 32, 2, 64, KvDType::F16});
  CHECK(cache.layer(2).keys - cache.layer(0).keys == 2 * 4 * 32 * 2 * 64);
  CHECK(cache.layer(1).offset(33, 1) == ((1 * 2 + 1) * 32 + 1) * 64);
  CHECK_FALSE(cache.layer(1).precise());

  const CudaKvCache precise({3, 4, 32, 2, 64, KvDType::F32});
  const KvLayer first = precise.layer(0), last = precise.layer(2);
  CHECK(last.keys - first.keys == 2 * 4 * 32 * 2 * 64);
  CHECK(first.keys_low - first.keys == 3 * 4 * 32 * 2 * 64);
  CHECK(last.values_low - last.values == 3 * 4 * 32 * 2 * 64);
}
