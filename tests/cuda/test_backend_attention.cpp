// Attention of the CUDA backend against the CPU's: what goes into the cache, and what comes out of it.
#include <cmath>
#include <memory>

#include "tests/cuda/parity.h"

using namespace qwend;
using namespace qwend::test;

namespace {

constexpr int32_t kMaxTokens = 512, kNumBlocks = 256;

RopeTable rope_table(int32_t rotary_dim, float magnitude = 1.0f) {
  RopeTable table{rotary_dim, {}, magnitude};
  for (int32_t i = 0; i < rotary_dim / 2; ++i) table.inv_freq.push_back(std::pow(1e6, -2.0 * i / rotary_dim));
  return table;
}

struct InputCase {
  AttentionShape shape;
  bool bias, qk_norm;
  int32_t rotary_dim;
  DType q_type, k_type, v_type;
};

struct InputResult {
  Rows q, keys, values;  // [T] of all heads
};

InputResult attn_input(Backend& backend, const InputCase& c, const TestStep& step,
                       const std::vector<float>& x, int64_t width, int32_t num_layers, int32_t layer,
                       KvDType cache) {
  const auto& [heads, kv_heads, head_dim, norm_eps] = c.shape;
  RandomParts parts;
  parts.add(c.q_type, int64_t{heads} * head_dim, width).add(c.k_type, int64_t{kv_heads} * head_dim, width);
  parts.add(c.v_type, int64_t{kv_heads} * head_dim, width);
  const Matrix qkv = backend.upload(parts.views());
  const Vector norm = backend.upload_vector(normal_values(static_cast<size_t>(width), 3));
  const Vector bias = backend.upload_vector(normal_values(static_cast<size_t>(qkv->rows()), 5, 10.0f));
  const Vector q_norm = backend.upload_vector(normal_values(static_cast<size_t>(head_dim), 7));
  const Vector k_norm = backend.upload_vector(normal_values(static_cast<size_t>(head_dim), 11));
  const RopeTable rope = rope_table(c.rotary_dim, 1.1f);
  const KvCachePtr kv =
      backend.allocate_kv({num_layers, kNumBlocks, TestStep::kBlockSize, kv_heads, head_dim, cache});
  const Activation in = backend.allocate(width), q = backend.allocate(int64_t{heads} * head_dim);
  poison_all(backend, *q, step.num_tokens());
  backend.begin_step(step.input());
  write_all(backend, *in, x);
  backend.attn_input({*norm, 1e-6f, *qkv, c.bias ? bias.get() : nullptr, c.qk_norm ? q_norm.get() : nullptr,
                      c.qk_norm ? k_norm.get() : nullptr, rope, c.shape, layer},
                     *in, *kv, *q);
  InputResult result{read_all(backend, *q, step.num_tokens()), {}, {}};
  for (const int32_t slot : step.slots) {
    std::vector<float>&keys = result.keys.emplace_back(), &values = result.values.emplace_back();
    for (int32_t head = 0; head < kv_heads; ++head) {
      const KvRow row = backend.read_kv(*kv, {layer, head, slot});
      keys.insert(keys.end(), row.key.begin(), row.key.end());
      values.insert(values.end(), row.value.begin(), row.value.end());
    }
  }
  return result;
}

// Queries, and a cache filled with keys and values of all that the step's sequences have seen.
Rows attention(Backend& backend, const AttentionShape& shape, const TestStep& step, KvDType cache) {
  const auto& [heads, kv_heads, head_dim, norm_eps] = shape;
  constexpr int32_t kLayer = 1;
  const KvCachePtr kv = backend.allocate_kv({2, kNumBlocks, TestStep::kBlockSize, kv_heads, head_dim, cache});
  for (size_t s = 0; s < step.context_lens.size(); ++s) {
    for (int32_t position = 0; position < step.context_lens[s]; ++position) {
      for (int32_t head = 0; head < kv_heads; ++head) {
        const auto seed = static_cast<uint32_t>((static_cast<int32_t>(s) * 4099 + position) * 8 + head);
        KvRow row{normal_values(static_cast<size_t>(head_dim), seed),
                  normal_values(static_cast<size_t>(head_dim), seed + 7'000'000)};
        row.value[1] = 3e4f;  // close to what FP16 holds: averages must not overflow
        backend.write_kv(*kv, {kLayer, head, step.slot(s, position)}, row);
      }
    }
  }
  const int64_t width = int64_t{heads} * head_dim;
  const Activation q = backend.allocate(width), out = backend.allocate(width);
  poison_all(backend, *out, step.num_tokens());
  backend.begin_step(step.input());
  write_all(backend, *q, normal_values(static_cast<size_t>(step.num_tokens() * width), 43, 2.0f));
  backend.attention(shape, kLayer, *q, *kv, *out);
  Rows rows = read_all(backend, *out, step.num_tokens());
  for (std::vector<float>& row : rows) {
    for (size_t h = 0; h < static_cast<size_t>(heads); ++h) {
      float& large = row[h * static_cast<size_t>(head_dim) + 1];
      CHECK(large == Approx(3e4f).epsilon(2e-3));
      large = 0.0f;  // lest it hide the others
    }
  }
  return rows;
}

const std::vector<std::vector<TestStep::Seq>> kSteps = {
    {{0, 1}},
    {{16, 1}},
    {{999, 1}},
    {{0, 1}, {1, 1}, {15, 1}, {31, 1}, {300, 1}, {700, 1}},  // a decode step
    {{0, 200}},                                              // a prompt
    {{100, 77}, {5, 1}, {0, 33}, {512, 1}, {63, 64}},        // chunks among decoding sequences
};

}  // namespace

TEST_CASE("parity: queries, keys and values", "[cuda][backend][parity]") {
  NEEDS_CUDA_DEVICE();
  Backends backends(kMaxTokens);
  const InputCase cases[] = {
      {{14, 2, 64, 1e-6f}, true, false, 64, DType::F16, DType::F16, DType::F16},
      {{4, 4, 128, 1e-6f}, false, true, 128, DType::Q8_0, DType::Q8_0, DType::Q8_0},
      {{16, 8, 128, 1e-5f}, true, true, 64, DType::Q4_K, DType::Q4_K, DType::Q6_K},
      {{7, 1, 64, 1e-6f}, false, false, 32, DType::Q5_0, DType::F32, DType::BF16},
      {{4, 2, 256, 1e-6f}, true, true, 256, DType::F16, DType::Q4_0, DType::Q8_0},
  };
  constexpr int64_t kWidth = 512;
  const KvDType cache = GENERATE(KvDType::F16, KvDType::F32);
  for (const InputCase& c : cases) {
    for (const std::vector<TestStep::Seq>& seqs : kSteps) {
      const TestStep step(seqs, kNumBlocks);
      INFO(c.shape.num_heads << " heads over " << c.shape.num_kv_heads << " of " << c.shape.head_dim << ", "
                             << step.num_tokens() << " tokens, bias " << c.bias << ", QK-norm " << c.qk_norm);
      const std::vector<float> x = activations(step.num_tokens(), kWidth, 41);
      const InputResult want = attn_input(*backends.cpu, c, step, x, kWidth, 3, 2, cache),
                        got = attn_input(*backends.cuda, c, step, x, kWidth, 3, 2, cache);
      // Queries of few tokens are computed from activations in two planes and weights as they are.
      const double allowed = step.num_tokens() <= 64 ? kTwoPlaneTolerance : kProductTolerance;
      CHECK(worst_row_error(got.q, want.q) < allowed);
      const double kept = cache == KvDType::F32 ? allowed : kProductTolerance;
      CHECK(worst_row_error(got.keys, want.keys) < kept);
      CHECK(worst_row_error(got.values, want.values) < kept);
    }
  }
}

TEST_CASE("parity: attention over the paged cache", "[cuda][backend][parity]") {
  NEEDS_CUDA_DEVICE();
  Backends backends(kMaxTokens);
  const KvDType cache = GENERATE(KvDType::F16, KvDType::F32);
  const double allowed = cache == KvDType::F32 ? 3e-5 : 3 * kProductTolerance;
  for (const AttentionShape& shape : {AttentionShape{14, 2, 64}, AttentionShape{4, 4, 128},
                                      AttentionShape{8, 1, 128}, AttentionShape{4, 2, 256}}) {
    for (const std::vector<TestStep::Seq>& seqs : kSteps) {
      const TestStep step(seqs, kNumBlocks);
      INFO(shape.num_heads << " heads over " << shape.num_kv_heads << " of " << shape.head_dim << ", "
                           << step.num_tokens() << " tokens of " << seqs.size() << " sequences");
      const Rows want = attention(*backends.cpu, shape, step, cache),
                 got = attention(*backends.cuda, shape, step, cache);
      CHECK(worst_row_error(got, want) < allowed);
    }
  }
}

TEST_CASE("keys and values are written and read at their place", "[cuda][backend]") {
  NEEDS_CUDA_DEVICE();
  const auto backend = make_cuda_backend(0, 64, 64);
  const KvDType cache = GENERATE(KvDType::F16, KvDType::F32);
  const KvCachePtr kv = backend->allocate_kv({3, 8, 16, 2, 64, cache});
  const float fraction = cache == KvDType::F32 ? 0x1p-9f : 0.0f;
  const auto value_of = [=](int32_t layer, int32_t head, int32_t slot) {
    return static_cast<float>(layer * 512 + head * 256 + slot) + fraction;  // exact in 11 or 22 bits
  };
  for (int32_t layer = 0; layer < 3; ++layer) {
    for (int32_t head = 0; head < 2; ++head) {
      for (int32_t slot = 0; slot < 128; ++slot) {
        const float v = value_of(layer, head, slot);
        backend->write_kv(*kv, {layer, head, slot}, {std::vector<float>(64, v), std::vector<float>(64, -v)});
      }
    }
  }
  int wrong = 0;
  for (int32_t layer = 0; layer < 3; ++layer) {
    for (int32_t head = 0; head < 2; ++head) {
      for (int32_t slot = 0; slot < 128; ++slot) {
        const KvRow row = backend->read_kv(*kv, {layer, head, slot});
        const float v = value_of(layer, head, slot);
        wrong += row.key != std::vector<float>(64, v) || row.value != std::vector<float>(64, -v);
      }
    }
  }
  CHECK(wrong == 0);
}
