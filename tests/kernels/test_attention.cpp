// Paged attention against a plain double-precision softmax, for every instruction set of this machine.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/quant/half.h"
#include "tests/support/catch2.h"

using namespace qwend;
using namespace qwend::cpu;

namespace {

struct Implementation {
  std::string name;
  AttendFn attend;
};

std::vector<Implementation> implementations() {
  std::vector<Implementation> list{{"portable", attend_portable}};
#if defined(__x86_64__)
  if (best_isa() >= Isa::Avx2) list.push_back({"AVX2", attend_avx2});
  if (best_isa() >= Isa::Avx512) list.push_back({"AVX-512", attend_avx512});
#endif
  return list;
}

float through_half(float x) { return quant::half_to_float(quant::float_to_half(x)); }

// One sequence of random queries, keys and values; keys and values stand in a cache whose other slots hold
// junk.
struct Scene {
  int32_t tokens, heads, kv_heads, head_dim, block_size;
  std::vector<float> q, k, v;  // [tokens, H or K, hd]
  std::vector<int32_t> blocks;
  CpuKvCache cache;

  Scene(int32_t tokens_, int32_t heads_, int32_t kv_heads_, int32_t head_dim_, KvDType dtype,
        int32_t block_size_ = 16)
      : tokens(tokens_),
        heads(heads_),
        kv_heads(kv_heads_),
        head_dim(head_dim_),
        block_size(block_size_),
        cache({1, 2 * (tokens_ / block_size_ + 1), block_size_, kv_heads_, head_dim_, dtype}) {
    std::mt19937 random(static_cast<uint32_t>(tokens * 31 + heads * 7 + head_dim));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& x, int32_t rows) {
      x.resize(static_cast<size_t>(tokens) * static_cast<size_t>(rows) * static_cast<size_t>(head_dim));
      for (float& value : x) value = dtype == KvDType::F16 ? through_half(normal(random)) : normal(random);
    };
    fill(q, heads);
    fill(k, kv_heads);
    fill(v, kv_heads);
    for (float& x : q) x *= 2.0f;  // some rows far from uniform
    const int32_t num_blocks = cache.spec().num_blocks;
    const std::vector<float> junk(static_cast<size_t>(head_dim), 1000.0f);
    for (int32_t slot = 0; slot < num_blocks * block_size; ++slot) {
      for (int32_t head = 0; head < kv_heads; ++head) cache.write(0, head, slot, junk.data(), junk.data());
    }
    for (int32_t b = 0; b <= tokens / block_size; ++b) blocks.push_back((b * 2 + 1) % num_blocks);
    for (int32_t t = 0; t < tokens; ++t) {
      const int32_t slot = blocks[static_cast<size_t>(t / block_size)] * block_size + t % block_size;
      for (int32_t head = 0; head < kv_heads; ++head)
        cache.write(0, head, slot, key(t, head), value(t, head));
    }
  }
  const float* key(int32_t t, int32_t head) const {
    return k.data() + int64_t{t * kv_heads + head} * head_dim;
  }
  const float* value(int32_t t, int32_t head) const {
    return v.data() + int64_t{t * kv_heads + head} * head_dim;
  }
  int32_t group() const { return heads / kv_heads; }

  // Outputs of tokens [begin, end) computed as one step, in tasks of at most `rows` query rows.
  std::vector<float> run(AttendFn attend, int32_t begin, int32_t end, int32_t rows = kAttentionRows) const {
    const int64_t width = int64_t{heads} * head_dim;
    std::vector<float> out(static_cast<size_t>((end - begin) * width),
                           std::numeric_limits<float>::quiet_NaN());
    FloatBuffer scratch(attention_scratch_floats(head_dim));
    for (int32_t head = 0; head < kv_heads; ++head) {
      for (int32_t row = 0; row < (end - begin) * group(); row += rows) {
        AttentionTask task;
        task.q = q.data() + begin * width + int64_t{head} * group() * head_dim;
        task.out = out.data() + int64_t{head} * group() * head_dim;
        task.token_stride = width;
        task.group = group();
        task.row_begin = row;
        task.row_end = std::min(row + rows, (end - begin) * group());
        task.first_position = begin;
        task.block_table = blocks.data();
        task.kv = cache.head(0, head);
        task.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
        attend(task, scratch.data());
      }
    }
    return out;
  }

  std::vector<double> expected(int32_t t, int32_t head) const {
    const float* query = q.data() + int64_t{t * heads + head} * head_dim;
    std::vector<double> scores, out(static_cast<size_t>(head_dim), 0.0);
    double top = -1e300, sum = 0.0;
    for (int32_t j = 0; j <= t; ++j) {
      double dot = 0.0;
      for (int32_t d = 0; d < head_dim; ++d)
        dot += static_cast<double>(query[d]) * static_cast<double>(key(j, head / group())[d]);
      scores.push_back(dot / std::sqrt(static_cast<double>(head_dim)));
      top = std::max(top, scores.back());
    }
    for (double& s : scores) sum += s = std::exp(s - top);
    for (int32_t j = 0; j <= t; ++j) {
      for (int32_t d = 0; d < head_dim; ++d) {
        out[static_cast<size_t>(d)] +=
            scores[static_cast<size_t>(j)] / sum * static_cast<double>(value(j, head / group())[d]);
      }
    }
    return out;
  }
};

bool same_bits(const std::vector<float>& a, const float* b) {
  return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("attention equals a plain softmax", "[kernels][attention]") {
  struct Shape {
    int32_t tokens, heads, kv_heads, head_dim;
  };
  const Shape shapes[] = {{1, 1, 1, 64},    {2, 2, 1, 128},  {63, 7, 1, 64},  {64, 4, 2, 128},
                          {65, 14, 2, 64},  {130, 8, 1, 80}, {150, 3, 3, 40}, {90, 64, 1, 64},
                          {200, 2, 2, 256}, {70, 5, 1, 8},   {333, 6, 2, 96}, {40, 2, 1, 512}};
  for (const Shape& s : shapes) {
    for (const KvDType dtype : {KvDType::F16, KvDType::F32}) {
      const Scene scene(s.tokens, s.heads, s.kv_heads, s.head_dim, dtype);
      for (const Implementation& with : implementations()) {
        INFO(with.name << " tokens " << s.tokens << " heads " << s.heads << "/" << s.kv_heads << " hd "
                       << s.head_dim);
        const std::vector<float> out = scene.run(with.attend, 0, s.tokens);
        double worst = 0.0;
        for (int32_t t = 0; t < s.tokens; ++t) {
          for (int32_t head = 0; head < s.heads; ++head) {
            const std::vector<double> expected = scene.expected(t, head);
            for (int32_t d = 0; d < s.head_dim; ++d) {
              const float got = out[static_cast<size_t>((int64_t{t} * s.heads + head) * s.head_dim + d)];
              const double error = std::abs(static_cast<double>(got) - expected[static_cast<size_t>(d)]);
              worst = std::isnan(error) ? INFINITY : std::max(worst, error);
            }
          }
        }
        CHECK(worst < 1e-5);  // rounding of scores near 20 is 1e-6 a dimension
      }
    }
  }
}

TEST_CASE("attention of a row is the same bits however the step is cut", "[kernels][attention]") {
  for (const KvDType dtype : {KvDType::F16, KvDType::F32}) {
    const Scene scene(300, 14, 2, 64, dtype), wide_blocks(300, 14, 2, 64, dtype, 48);
    const int64_t width = int64_t{scene.heads} * scene.head_dim;
    for (const Implementation& with : implementations()) {
      INFO(with.name);
      const std::vector<float> whole = scene.run(with.attend, 0, scene.tokens);
      CHECK(same_bits(wide_blocks.run(with.attend, 0, scene.tokens), whole.data()));
      for (const int32_t rows : {1, 5, 47})
        CHECK(same_bits(scene.run(with.attend, 0, scene.tokens, rows), whole.data()));
      for (const int32_t chunk : {1, 7, 64, 100}) {
        for (int32_t begin = 0; begin < scene.tokens; begin += chunk) {
          const int32_t end = std::min(begin + chunk, scene.tokens);
          REQUIRE(same_bits(scene.run(with.attend, begin, end), whole.data() + begin * width));
        }
      }
    }
  }
}

TEST_CASE("attention with scores far apart", "[kernels][attention]") {
  // Scores of +-1e4 and beyond: the maximum's value must come out, without overflow on the way.
  for (const Implementation& with : implementations()) {
    Scene scene(100, 2, 1, 64, KvDType::F32);
    for (float& x : scene.q) x *= 1e4f;
    const std::vector<float> out = scene.run(with.attend, 0, scene.tokens);
    for (const float x : out) REQUIRE(std::isfinite(x));
    const std::vector<double> expected = scene.expected(99, 1);
    for (int32_t d = 0; d < 64; ++d) {
      CHECK(out[static_cast<size_t>((99 * 2 + 1) * 64 + d)] ==
            Approx(expected[static_cast<size_t>(d)]).margin(1e-2));
    }
  }
}

TEST_CASE("a block is copied in all layers and heads", "[kernels][attention]") {
  constexpr int32_t kLayers = 3, kBlocks = 4, kBlockSize = 32, kHeads = 2, kWidth = 24;
  for (const KvDType dtype : {KvDType::F16, KvDType::F32}) {
    CpuKvCache cache({kLayers, kBlocks, kBlockSize, kHeads, kWidth, dtype});
    const auto each_token = [&](auto body) {
      for (int32_t layer = 0; layer < kLayers; ++layer)
        for (int32_t head = 0; head < kHeads; ++head)
          for (int32_t slot = 0; slot < kBlocks * kBlockSize; ++slot) body(layer, head, slot);
    };
    const auto row = [&](int32_t layer, int32_t head, int32_t slot, float part) {
      std::vector<float> values(kWidth);  // exact in F16
      for (int32_t d = 0; d < kWidth; ++d) values[static_cast<size_t>(d)] = part + static_cast<float>(d) / 32;
      values[0] = static_cast<float>((layer * kHeads + head) * kBlocks * kBlockSize + slot);
      return values;
    };
    each_token([&](int32_t layer, int32_t head, int32_t slot) {
      cache.write(layer, head, slot, row(layer, head, slot, 1).data(), row(layer, head, slot, 2).data());
    });
    cache.copy_block(1, 3);
    bool right = true;
    each_token([&](int32_t layer, int32_t head, int32_t slot) {
      const int32_t source = slot / kBlockSize == 3 ? slot - 2 * kBlockSize : slot;
      const KvRow read = cache.read(layer, head, slot);
      right = right && read.key == row(layer, head, source, 1) && read.value == row(layer, head, source, 2);
    });
    CHECK(right);
  }
}

TEST_CASE("an F16 cache holds what does not fit F16 as its largest value", "[kernels][attention]") {
  CpuKvCache cache({1, 1, 16, 1, 8, KvDType::F16});
  const std::vector<float> key(8, 1e9f), value{70000.0f, -1e30f, 1.5f, 0, 65504.0f, -3, 1e-8f, 2};
  cache.write(0, 0, 3, key.data(), value.data());
  const auto* row =
      reinterpret_cast<const uint16_t*>(cache.head(0, 0).values) + 3 * cache.head(0, 0).value_stride;
  CHECK(quant::half_to_float(row[0]) == 65504.0f);
  CHECK(quant::half_to_float(row[1]) == -65504.0f);
  CHECK(quant::half_to_float(row[2]) == 1.5f);
  CHECK(quant::half_to_float(row[7]) == 2.0f);
  const auto* keys = reinterpret_cast<const uint16_t*>(cache.head(0, 0).keys);
  CHECK(quant::half_to_float(keys[5 * kKeyTile + 3]) == 65504.0f);  // dimension 5 of token 3
  CHECK(keys[5 * kKeyTile + 4] == 0);
}

TEST_CASE("caches that can't be are refused", "[kernels][attention]") {
  CHECK_THROWS_AS(CpuKvCache({1, 4, 8, 1, 64, KvDType::F16}), std::invalid_argument);
  CHECK_THROWS_AS(CpuKvCache({1, 4, 16, 1, 513, KvDType::F16}), std::invalid_argument);
  CHECK_THROWS_AS(CpuKvCache({0, 4, 16, 1, 64, KvDType::F16}), std::invalid_argument);
  CHECK_THROWS_AS(CpuKvCache({1000, 1 << 30, 16, 1000, 512, KvDType::F32}), std::bad_alloc);
}

TEST_CASE("a plan covers every row of every sequence once", "[kernels][attention]") {
  // Two sequences in one step: a chunk that starts at position 20 and a decode at 77.
  const AttentionShape shape{14, 2, 64, 1e-6f};
  Scene a(120, 14, 2, 64, KvDType::F32), b(78, 14, 2, 64, KvDType::F32);
  CpuKvCache cache({1, 64, 16, 2, 64, KvDType::F32});
  std::vector<int32_t> tables(2 * 8), positions;
  std::vector<float> q, expected;
  const auto add = [&](const Scene& scene, int32_t begin, size_t table) {
    for (int32_t block = 0; block <= scene.tokens / 16; ++block) {
      tables[table * 8 + static_cast<size_t>(block)] = static_cast<int32_t>(table) * 30 + block;
    }
    for (int32_t t = 0; t < scene.tokens; ++t) {
      const int32_t slot = tables[table * 8 + static_cast<size_t>(t / 16)] * 16 + t % 16;
      for (int32_t head = 0; head < 2; ++head)
        cache.write(0, head, slot, scene.key(t, head), scene.value(t, head));
      if (t >= begin) positions.push_back(t);
    }
    q.insert(q.end(), scene.q.begin() + begin * 14 * 64, scene.q.end());
    const std::vector<float> out = scene.run(attend(), begin, scene.tokens);
    expected.insert(expected.end(), out.begin(), out.end());
  };
  add(a, 20, 0);
  add(b, 77, 1);
  const std::vector<int32_t> cu_seqlens{0, 100, 101}, context_lens{120, 78};
  StepInput input;
  input.positions = positions;
  input.cu_seqlens = cu_seqlens;
  input.context_lens = context_lens;
  input.block_tables = tables;
  input.block_table_stride = 8;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
    AttentionPlan plan;
    plan.build(input, shape);
    plan.run(input, 0, q.data(), cache, out.data(), pool);
    CHECK(same_bits(expected, out.data()));
  }
}
