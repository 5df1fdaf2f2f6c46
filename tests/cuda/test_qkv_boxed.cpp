// Queries, keys and values in one kernel are what the product and finish_qkv() make of them.
#include <algorithm>
#include <numeric>

#include "kernels/cuda/qkv_boxed.h"
#include "tests/cuda/products.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

constexpr int32_t kBlockSize = 16;
constexpr uint16_t kUnwritten = 0x7e42;

struct Case {
  AttentionShape shape;
  bool bias, norm, two_planes, scaled;
  int64_t cols;
  int32_t tokens;
};

struct Outputs {
  std::vector<float> q;
  std::vector<uint16_t> keys, values;
};

// Weights, rows and a step whose tokens lie anywhere in the cache; every seventh is not kept.
class Fixture {
 public:
  explicit Fixture(const Case& c)
      : case_(c),
        heads_(c.shape.num_heads + 2 * c.shape.num_kv_heads),
        parts_{{DType::F16, int64_t{heads_} * c.shape.head_dim, c.cols, 1, 31, 0.2f}},
        weights_(upload(views(parts_))),
        in_(c.tokens, c.cols, 37, {-11, -9, -14}, c.two_planes),
        bias_(to_device(normal_values(static_cast<size_t>(weights_->rows()), 3, 20.0f))),
        q_norm_(to_device(normal_values(static_cast<size_t>(c.shape.head_dim), 5))),
        k_norm_(to_device(normal_values(static_cast<size_t>(c.shape.head_dim), 7))) {
    RopeTable table;
    table.rotary_dim = c.shape.head_dim;
    for (int32_t i = 0; i < table.rotary_dim / 2; ++i)
      table.inv_freq.push_back(std::pow(1e6, -2.0 * i / table.rotary_dim));
    rope_ = make_rope_table_on_device(table, 4096);
    std::vector<int32_t> positions, slots(static_cast<size_t>(c.tokens));
    std::iota(slots.begin(), slots.end(), 5);
    std::shuffle(slots.begin(), slots.end(), std::mt19937(11));
    for (int32_t t = 0; t < c.tokens; ++t) {
      positions.push_back(t * 13 % 4096);
      if (t % 7 == 3) slots[static_cast<size_t>(t)] = -1;
    }
    positions_ = to_device(positions), slots_ = to_device(slots);
  }

  Outputs run(bool boxed) {
    const AttentionShape& shape = case_.shape;
    const auto blocks = static_cast<size_t>(case_.tokens / kBlockSize + 2);
    const std::vector<uint16_t> cache(
        blocks * static_cast<size_t>(kBlockSize * shape.num_kv_heads * shape.head_dim), kUnwritten);
    const auto keys = to_device(cache), values = to_device(cache);
    const auto q = poisoned<float>(static_cast<size_t>(case_.tokens * shape.num_heads * shape.head_dim));
    const KvLayer kv{reinterpret_cast<__half*>(keys.data()), reinterpret_cast<__half*>(values.data()),
                     shape.num_kv_heads, kBlockSize, shape.head_dim};
    DeviceStep step{};
    step.positions = positions_.data(), step.slot_mapping = slots_.data(), step.num_tokens = case_.tokens;
    QkvFinish op{.qkv = nullptr,
                 .scale = case_.scaled ? in_.scales.data() : nullptr,
                 .bias = case_.bias ? bias_.data() : nullptr,
                 .q_norm = case_.norm ? q_norm_.data() : nullptr,
                 .k_norm = case_.norm ? k_norm_.data() : nullptr,
                 .norm_eps = 1e-6f,
                 .rope = rope_.data(),
                 .rotary_dim = shape.head_dim,
                 .shape = shape};
    boxed ? run_boxed(op, step, kv, q.data()) : run_apart(op, step, kv, q.data());
    return {to_host(q), to_host(keys), to_host(values)};
  }

 private:
  void run_boxed(const QkvFinish& op, const DeviceStep& step, const KvLayer& kv, float* q) {
    REQUIRE(boxed_qkv_serves(op, kv));
    LargeMatmul large(case_.tokens, {}, nullptr, 1);
    const auto rows = large.boxed_rows(*weights_, case_.tokens);
    REQUIRE(rows.has_value());
    boxed_qkv(*rows, in_.view().unscaled(), op, step, kv, q, nullptr);
    CUDA_CHECK(cudaDeviceSynchronize());
  }
  void run_apart(QkvFinish op, const DeviceStep& step, const KvLayer& kv, float* q) {
    const auto sums = poisoned<float>(static_cast<size_t>(case_.tokens * weights_->rows()));
    LargeMatmul(case_.tokens, {}, nullptr, INT32_MAX)
        .run(*weights_, in_.view().unscaled(), case_.tokens, Epilogue::Store,
             {sums.data(), weights_->rows()});
    op.qkv = sums.data();
    finish_qkv(op, step, kv, q, nullptr);
    CUDA_CHECK(cudaDeviceSynchronize());
  }

  const Case case_;
  const int32_t heads_;
  std::vector<RandomWeights> parts_;
  std::unique_ptr<CudaMatrix> weights_;
  TestRows in_;
  DeviceBuffer<float> bias_, q_norm_, k_norm_;
  DeviceBuffer<float2> rope_;
  DeviceBuffer<int32_t> positions_, slots_;
};

// Largest difference, as a share of the largest value of the head that it is in.
double worst_of(const std::vector<float>& a, const std::vector<float>& b, size_t head_dim) {
  double worst = 0.0;
  for (size_t h = 0; h < a.size(); h += head_dim) {
    double largest = 1e-30, difference = 0.0;
    for (size_t d = h; d < h + head_dim; ++d) {
      const double error = std::abs(static_cast<double>(a[d]) - static_cast<double>(b[d]));
      difference = std::max(difference, std::isnan(error) ? INFINITY : error);
      largest = std::max(largest, std::abs(static_cast<double>(b[d])));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}
// What is in the cache, zeros where nothing is; NaN where only one of both has written.
std::vector<float> cached(const std::vector<uint16_t>& own, const std::vector<uint16_t>& other) {
  std::vector<float> list;
  for (size_t i = 0; i < own.size(); ++i) {
    const bool both = (own[i] == kUnwritten) == (other[i] == kUnwritten);
    list.push_back(!both ? std::nanf("") : own[i] == kUnwritten ? 0.0f : quant::half_to_float(own[i]));
  }
  return list;
}

void check(const Case& c) {
  INFO(c.shape.num_heads << " heads of " << c.shape.head_dim << ", " << c.cols << " columns, " << c.tokens
                         << " tokens");
  Fixture fixture(c);
  const Outputs boxed = fixture.run(true), apart = fixture.run(false);
  const auto width = static_cast<size_t>(c.shape.head_dim);
  CHECK(worst_of(boxed.q, apart.q, width) < 1e-5);
  CHECK(worst_of(cached(boxed.keys, apart.keys), cached(apart.keys, boxed.keys), width) < 0x1p-10);
  CHECK(worst_of(cached(boxed.values, apart.values), cached(apart.values, boxed.values), width) < 0x1p-10);
  const Outputs again = fixture.run(true);
  CHECK(again.q == boxed.q);
  CHECK(again.keys == boxed.keys);
}

}  // namespace

TEST_CASE("queries, keys and values in one kernel", "[cuda][qkv][boxed]") {
  NEEDS_BOXED_PRODUCTS();
  check({{14, 2, 64}, true, false, true, true, 896, 700});
  check({{28, 4, 128}, true, false, true, true, 512, 300});
  check({{28, 4, 128}, true, false, true, true, 3584, 200});
  check({{32, 8, 128}, false, true, true, true, 320, 513});
  check({{5, 1, 64}, true, true, false, false, 96, 129});
  check({{3, 1, 128}, false, false, true, true, 64, 1});
  // A head and 64 tokens a tile: up to a full tile and beyond, one round and two, an odd number of heads.
  for (const int32_t tokens : {33, 64, 256, 450}) check({{14, 2, 64}, true, false, true, true, 896, tokens});
  check({{28, 4, 128}, true, false, true, true, 3584, 64});
  check({{28, 4, 128}, true, false, true, true, 448, 101});
  check({{32, 8, 128}, false, true, true, true, 320, 77});
  check({{5, 2, 64}, true, true, true, false, 104, 65});
  check({{3, 1, 128}, false, true, true, true, 192, 130});
  // Tiles of 192 and 128 rows where a device has 132 multiprocessors.
  check({{14, 2, 64}, true, false, true, true, 256, 2048});
  check({{28, 4, 128}, true, false, true, true, 256, 2048});
}

TEST_CASE("queries, keys and values in one kernel, small", "[cuda][qkv][boxed][sanitize]") {
  NEEDS_BOXED_PRODUCTS();
  check({{5, 1, 64}, true, true, true, true, 192, 200});
  check({{5, 1, 64}, true, true, true, true, 640, 70});
  check({{2, 1, 128}, true, true, true, true, 640, 70});
}
