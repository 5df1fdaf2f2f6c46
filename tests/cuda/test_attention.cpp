// Paged attention on the device against a plain softmax in double precision.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/quant/half.h"
#include "tests/cuda/cuda_test.h"
#include "tests/support/catch2.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

struct Seq {
  int32_t tokens;   // in the step
  int32_t context;  // once they are written
};

struct Shape {
  int32_t head_dim, group, kv_heads;
  int32_t block_size = 16;
  KvDType cache = KvDType::F16;
  int32_t heads() const { return group * kv_heads; }
  bool precise() const { return cache == KvDType::F32; }
  AttentionShape attention() const { return {heads(), kv_heads, head_dim}; }
};

// FP32 as the device keeps it: halves, and for a precise cache what they leave.
struct Planes {
  Planes(const std::vector<float>& values, bool precise) {
    std::vector<uint16_t> halves, rest;
    for (const float x : values) {
      halves.push_back(quant::float_to_half(x));
      rest.push_back(quant::float_to_half(x - quant::half_to_float(halves.back())));
    }
    high = to_device(halves);
    if (precise) low = to_device(rest);
  }
  DeviceBuffer<uint16_t> high, low;
};
__half* data(const DeviceBuffer<uint16_t>& plane) {
  return plane.size() > 0 ? reinterpret_cast<__half*>(plane.data()) : nullptr;
}

// Random keys and values of some sequences in a cache whose other slots hold NaN, behind block tables whose
// entries beyond the contexts lead nowhere; and random queries for every position.
class Scene {
 public:
  Scene(const Shape& shape, std::vector<int32_t> contexts, float key_bias = 0.0f)
      : shape_(shape), contexts_(std::move(contexts)), random_(static_cast<uint32_t>(shape.head_dim)) {
    const int32_t longest = *std::max_element(contexts_.begin(), contexts_.end());
    stride_ = longest / shape.block_size + 2;
    int32_t used = 0;
    for (const int32_t context : contexts_) used += (context + shape.block_size - 1) / shape.block_size;
    num_blocks_ = used + 3;
    std::vector<int32_t> free(static_cast<size_t>(num_blocks_));
    for (size_t b = 0; b < free.size(); ++b) free[b] = static_cast<int32_t>(b);
    std::shuffle(free.begin(), free.end(), random_);
    const size_t elements =
        static_cast<size_t>(num_blocks_) * shape.block_size * shape.kv_heads * shape.head_dim;
    keys_.assign(elements, std::nanf(""));
    values_.assign(elements, std::nanf(""));
    tables_.assign(contexts_.size() * static_cast<size_t>(stride_), 1 << 28);
    for (size_t s = 0; s < contexts_.size(); ++s) {
      for (int32_t b = 0; b * shape.block_size < contexts_[s]; ++b) {
        tables_[s * static_cast<size_t>(stride_) + static_cast<size_t>(b)] = free.back();
        free.pop_back();
      }
      fill(s, key_bias);
    }
    device_keys_ = std::make_unique<Planes>(keys_, shape.precise());
    device_values_ = std::make_unique<Planes>(values_, shape.precise());
  }

  static constexpr int32_t kPadding = 3;  // tokens
  // Results, [tokens of the step, H * hd], for the last `tokens` positions before each context.
  // seqs: (index of the sequence, what the step has of it); padded: with tokens and sequences of padding.
  struct Part {
    size_t index;
    Seq seq;
  };
  std::vector<float> run(const std::vector<Part>& parts, bool padded) {
    std::vector<float> q;
    std::vector<int32_t> positions, slots, token_seq, cu{0}, contexts, tables;
    for (const Part& part : parts) {
      for (int32_t i = 0; i < part.seq.tokens; ++i) {
        const int32_t position = part.seq.context - part.seq.tokens + i;
        positions.push_back(position);
        slots.push_back(slot(part.index, position));
        token_seq.push_back(static_cast<int32_t>(contexts.size()));
        const std::vector<float>& from = queries_[part.index];
        const auto width = static_cast<std::ptrdiff_t>(width_of_q());
        q.insert(q.end(), from.begin() + position * width, from.begin() + (position + 1) * width);
      }
      cu.push_back(static_cast<int32_t>(positions.size()));
      contexts.push_back(part.seq.context);
      const auto row =
          tables_.begin() + static_cast<std::ptrdiff_t>(part.index * static_cast<size_t>(stride_));
      tables.insert(tables.end(), row, row + stride_);
    }
    const size_t tokens = positions.size();
    for (int32_t i = 0; padded && i < kPadding; ++i) {
      positions.push_back(0), slots.push_back(-1), token_seq.push_back(-1);
      q.insert(q.end(), width_of_q(), std::nanf(""));
      if (i + 1 == kPadding) continue;
      cu.push_back(cu.back()), contexts.push_back(0);
      tables.insert(tables.end(), static_cast<size_t>(stride_), 1 << 28);
    }
    int32_t most = 1, least = parts.front().seq.tokens, longest = 1;
    for (const Part& part : parts) {
      most = std::max(most, part.seq.tokens), least = std::min(least, part.seq.tokens);
      longest = std::max(longest, part.seq.context);
    }

    const auto d_q = to_device(q);
    const auto d_positions = to_device(positions), d_slots = to_device(slots),
               d_token_seq = to_device(token_seq), d_cu = to_device(cu), d_contexts = to_device(contexts),
               d_tables = to_device(tables), d_stride = to_device(std::vector<int32_t>{stride_});
    DeviceStep step{};
    step.positions = d_positions.data();
    step.slot_mapping = d_slots.data();
    step.token_seq = d_token_seq.data();
    step.cu_seqlens = d_cu.data();
    step.context_lens = d_contexts.data();
    step.block_tables = d_tables.data();
    step.block_table_stride = d_stride.data();
    step.num_tokens = static_cast<int32_t>(positions.size());
    step.num_seqs = static_cast<int32_t>(contexts.size());
    step.max_context = padded ? 2 * longest : longest;
    step.max_seq_tokens = most, step.min_seq_tokens = least;
    const KvLayer kv{
        data(device_keys_->high), data(device_values_->high), shape_.kv_heads,          shape_.block_size,
        shape_.head_dim,          data(device_keys_->low),    data(device_values_->low)};
    const size_t stride = (width_of_q() + 63) / 64 * 64 + 64;
    const auto halves = poisoned<uint16_t>(positions.size() * stride);
    const auto values = poisoned<float>(positions.size() * width_of_q());
    workspace_.reserve(std::min(step.num_tokens, max_seqs_at_once_), shape_.attention());
    attention(shape_.attention(), step, kv, d_q.data(), workspace_,
              {reinterpret_cast<__half*>(halves.data()), static_cast<int64_t>(stride), values.data()},
              nullptr);
    return results(to_host(halves), stride, to_host(values), tokens);
  }

  // Largest error of the step's results over what rounding explains.
  double worst(const std::vector<Part>& parts, const std::vector<float>& results) const {
    double worst = 0;
    size_t token = 0;
    for (const Part& part : parts) {
      for (int32_t i = 0; i < part.seq.tokens; ++i, ++token) {
        // Long prompts: the ends of tiles and a sample of the rest.
        const int32_t position = part.seq.context - part.seq.tokens + i;
        if (part.seq.tokens > 80 && position % 64 != 0 && position % 61 != 0 && i + 1 != part.seq.tokens)
          continue;
        for (int32_t head = 0; head < shape_.heads(); ++head) {
          const std::vector<Expected> expected = reference(part.index, position, head);
          for (int32_t d = 0; d < shape_.head_dim; ++d) {
            const size_t at = token * width_of_q() + static_cast<size_t>(head * shape_.head_dim + d);
            const auto got = static_cast<double>(results[at]);
            const Expected& e = expected[static_cast<size_t>(d)];
            const double error = std::abs(got - e.value) / allowed(e);
            worst = std::isfinite(got) ? std::max(worst, error) : 1e9;
          }
        }
      }
    }
    return worst;
  }

  // Makes a step with more sequences take several launches.
  void limit_workspace(int32_t seqs) { max_seqs_at_once_ = seqs; }
  size_t width_of_q() const { return static_cast<size_t>(shape_.heads() * shape_.head_dim); }
  int32_t context(size_t s) const { return contexts_[s]; }

 private:
  struct Expected {
    double value, magnitude;  // sum of weight * v and of weight * |v|
    double products;          // largest sum of |q k| / sqrt(hd) of a key
  };

  double allowed(const Expected& e) const {
    // 2^-11 of the result, 2^-11 of each weight in the sum of products and in the sum of weights
    if (!shape_.precise()) return 5e-4 * std::abs(e.value) + 1e-3 * e.magnitude + 1e-7;
    // 2^-22 of queries, keys and what their sums pass through: an error of the score and so of each weight;
    // 2^-22 of weights and values, and sums of thousands of them
    return (1e-5 + 5e-7 * e.products) * e.magnitude + 1e-7;
  }

  int32_t slot(size_t s, int32_t position) const {
    const size_t block = s * static_cast<size_t>(stride_) + static_cast<size_t>(position / shape_.block_size);
    return tables_[block] * shape_.block_size + position % shape_.block_size;
  }
  size_t offset(size_t s, int32_t position, int32_t kv_head) const {
    const KvLayer layout{nullptr, nullptr, shape_.kv_heads, shape_.block_size, shape_.head_dim};
    return static_cast<size_t>(layout.offset(slot(s, position), kv_head));
  }

  // Keys with a bias carry it in four dimensions, turning with the position as rotation turns Qwen2's.
  void fill(size_t s, float key_bias) {
    std::normal_distribution<float> normal;
    for (int32_t p = 0; p < contexts_[s]; ++p) {
      for (int32_t head = 0; head < shape_.kv_heads; ++head) {
        const size_t at = offset(s, p, head);
        for (int32_t d = 0; d < shape_.head_dim; ++d) {
          float key = normal(random_);
          if (d % (shape_.head_dim / 4) == 3)
            key += key_bias * std::cos(0.01f * static_cast<float>(p * (d + 1)));
          keys_[at + static_cast<size_t>(d)] = as_kept(key);
          values_[at + static_cast<size_t>(d)] = as_kept(normal(random_));
        }
      }
    }
    queries_.emplace_back();
    for (size_t i = 0; i < static_cast<size_t>(contexts_[s]) * width_of_q(); ++i)
      queries_.back().push_back(2.0f * normal(random_));
  }

  float as_kept(float x) const {
    return shape_.precise() ? x : quant::half_to_float(quant::float_to_half(x));
  }

  std::vector<Expected> reference(size_t s, int32_t position, int32_t head) const {
    const int32_t kv_head = head / shape_.group;
    const float* q = queries_[s].data() + static_cast<size_t>(position) * width_of_q() +
                     static_cast<size_t>(head * shape_.head_dim);
    std::vector<double> weights(static_cast<size_t>(position) + 1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(shape_.head_dim));
    double top = -1e300, sum = 0, products = 0;
    for (int32_t p = 0; p <= position; ++p) {
      const float* key = keys_.data() + offset(s, p, kv_head);
      double dot = 0, magnitude = 0;
      for (int32_t d = 0; d < shape_.head_dim; ++d) {
        const double product = static_cast<double>(q[d]) * static_cast<double>(key[d]);
        dot += product, magnitude += std::abs(product);
      }
      weights[static_cast<size_t>(p)] = dot * scale;
      products = std::max(products, magnitude * scale);
      top = std::max(top, weights[static_cast<size_t>(p)]);
    }
    for (double& w : weights) sum += w = std::exp(w - top);
    std::vector<Expected> out(static_cast<size_t>(shape_.head_dim), {0, 0, products});
    for (int32_t p = 0; p <= position; ++p) {
      const float* value = values_.data() + offset(s, p, kv_head);
      const double weight = weights[static_cast<size_t>(p)] / sum;
      for (size_t d = 0; d < out.size(); ++d) {
        const auto v = static_cast<double>(value[d]);
        out[d].value += weight * v;
        out[d].magnitude += weight * std::abs(v);
      }
    }
    return out;
  }

  // The rows of the tokens. All else is as it was: columns beyond the heads, rows of padding, and the buffer
  // that a cache of this type does not write to.
  std::vector<float> results(const std::vector<uint16_t>& halves, size_t stride,
                             const std::vector<float>& values, size_t tokens) const {
    std::vector<float> rows;
    size_t written = 0;
    for (size_t i = 0; i < halves.size(); ++i) {
      const bool inside = !shape_.precise() && i / stride < tokens && i % stride < width_of_q();
      if (inside) rows.push_back(quant::half_to_float(halves[i]));
      written += !inside && !is_poison(halves[i]);
    }
    for (size_t i = 0; i < values.size(); ++i) {
      const bool inside = shape_.precise() && i < tokens * width_of_q();
      if (inside) rows.push_back(values[i]);
      written += !inside && !is_poison(values[i]);
    }
    REQUIRE(written == 0);
    return rows;
  }

  Shape shape_;
  std::vector<int32_t> contexts_;
  std::mt19937 random_;
  int32_t stride_ = 0, num_blocks_ = 0;
  std::vector<float> keys_, values_;
  std::vector<int32_t> tables_;
  std::vector<std::vector<float>> queries_;  // of each sequence: [context, H * hd]
  std::unique_ptr<Planes> device_keys_, device_values_;
  AttentionWorkspace workspace_;
  int32_t max_seqs_at_once_ = AttentionWorkspace::kMaxSeqs;
};

// The step with all parts: every result is right, and has the bits it has when its sequence is alone;
// decoding sequences of large steps, in which they are split by their number too, those that they have in
// another order.
void check(Scene& scene, const std::vector<Scene::Part>& parts) {
  const std::vector<float> together = scene.run(parts, true);
  CHECK(scene.worst(parts, together) <= 1.0);
  const size_t width = scene.width_of_q();
  const bool few = together.size() / width + Scene::kPadding <= kFewRows;
  const std::vector<float> reversed =
      few ? std::vector<float>() : scene.run({parts.rbegin(), parts.rend()}, true);
  size_t first = 0;
  for (const Scene::Part& part : parts) {
    const size_t count = static_cast<size_t>(part.seq.tokens) * width, end = first + count;
    REQUIRE(together.size() >= end);
    const auto found = std::span(together).subspan(first, count);
    INFO("sequence " << part.index << ": " << part.seq.tokens << " tokens, context " << part.seq.context);
    if (!few) CHECK(same_bits(std::span(reversed).subspan(reversed.size() - end, count), found));
    if (few || part.seq.tokens > 1) {
      const std::vector<float> alone = scene.run({part}, false);
      CHECK(same_bits(std::span(alone), found));
    }
    first = end;
  }
}

// Each sequence with its last `tokens` (at most its context) in the step.
std::vector<Scene::Part> parts_of(const Scene& scene, const std::vector<int32_t>& tokens) {
  std::vector<Scene::Part> parts;
  for (size_t s = 0; s < tokens.size(); ++s) parts.push_back({s, {tokens[s], scene.context(s)}});
  return parts;
}

std::string name(const Shape& s) {
  return "head_dim " + std::to_string(s.head_dim) + ", group " + std::to_string(s.group) + ", KV heads " +
         std::to_string(s.kv_heads) + ", block " + std::to_string(s.block_size) +
         (s.precise() ? ", FP32 cache" : "");
}

// Calls f with each shape over an FP16 and an FP32 cache, in a section of its own.
template <class F>
void for_each_cache(const std::vector<Shape>& shapes, const F& f) {
  for (Shape shape : shapes) {
    for (const KvDType cache : {KvDType::F16, KvDType::F32}) {
      shape.cache = cache;
      SECTION(name(shape)) { f(shape); }
    }
  }
}

// Every head width with every group size.
std::vector<Shape> all_shapes() {
  std::vector<Shape> shapes;
  for (const int32_t head_dim : {64, 128, 256}) {
    for (const int32_t group : {1, 2, 4, 5, 7, 8, 16, 20})
      shapes.push_back({head_dim, group, group == 7 ? 2 : 1});
  }
  return shapes;
}

}  // namespace

TEST_CASE("decode and prefill of every head width, short", "[cuda][attention][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 1}, {128, 4, 1}, {256, 2, 1}}, [](const Shape& shape) {
    Scene scene(shape, {17, 150});
    check(scene, parts_of(scene, {1, 1}));
    check(scene, parts_of(scene, {1, 20}));
    check(scene, parts_of(scene, {17, 2}));
  });
}

TEST_CASE("decode: every group size and head width", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache(all_shapes(), [](const Shape& shape) {
    Scene scene(shape, {1, 2, 15, 16, 17, 130});
    check(scene, parts_of(scene, {1, 1, 1, 1, 1, 1}));
  });
}

TEST_CASE("decode: lengths around tiles, splits and blocks", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 2}, {128, 7, 4, 48}, {256, 2, 3, 32}}, [](const Shape& shape) {
    Scene scene(shape, {127, 128, 129, 255, 256, 257, 1000, 1});
    check(scene, parts_of(scene, {1, 1, 1, 1, 1, 1, 1, 1}));
  });
}

TEST_CASE("decode: long contexts", "[cuda][attention][slow]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 2}, {128, 7, 4}, {128, 4, 8}}, [](const Shape& shape) {
    Scene scene(shape, {4096, 5, 8193});
    check(scene, parts_of(scene, {1, 1, 1}));
  });
  for_each_cache({{64, 7, 1}}, [](const Shape& shape) {
    Scene scene(shape, {32768, 1000});
    check(scene, parts_of(scene, {1, 1}));
  });
}

TEST_CASE("decode: more sequences than a warp has lanes", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  std::vector<int32_t> contexts;
  for (int32_t s = 0; s < 70; ++s) contexts.push_back(1 + s * 37 % 300);
  Scene scene({64, 2, 2}, contexts);
  SECTION("in one launch") {}
  SECTION("in several") { scene.limit_workspace(33); }
  check(scene, parts_of(scene, std::vector<int32_t>(70, 1)));
}

TEST_CASE("decode: many sequences, short and long", "[cuda][attention][slow]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 2}, {128, 7, 4}, {256, 2, 1}}, [](const Shape& shape) {
    std::vector<int32_t> contexts = {2048, 2049, 5000, 1, 64, 65, 8193};
    for (int32_t s = 0; contexts.size() < 21; ++s) contexts.push_back(100 + 211 * s % 1000);
    Scene scene(shape, contexts);
    check(scene, parts_of(scene, std::vector<int32_t>(contexts.size(), 1)));
  });
}

TEST_CASE("split plans", "[cuda][attention]") {
  for (const int32_t kv_heads : {1, 2, 4, 8, 16}) {
    const SplitPlan alone = SplitPlan::of(kv_heads);
    for (const int32_t context : {1, 127, 128, 129, 1000, 2048, 2049, 32768, 131072}) {
      CAPTURE(kv_heads, context);
      CHECK(alone.splits(context) <= alone.max_splits);
      CHECK(alone.keys(context) == SplitPlan{alone.max_splits}.keys(context));
      for (const int32_t seqs : {1, 3, 17, 64, 256}) {
        CAPTURE(seqs);
        const SplitPlan plan = SplitPlan::of_batch(kv_heads, seqs, 132);
        const int32_t keys = plan.keys(context), splits = plan.splits(context);
        CHECK(splits <= alone.splits(context));  // what scratch memory has room for
        CHECK(keys % SplitPlan::kKeyMultiple == 0);
        CHECK((splits - 1) * keys < context);
        CHECK(context <= splits * keys);
        if (seqs * kv_heads >= 128 && context <= SplitPlan::kMostKeys) CHECK(splits == 1);
      }
    }
  }
}

TEST_CASE("prefill: every group size and head width", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache(all_shapes(), [](const Shape& shape) {
    Scene scene(shape, {2, 17, 70, 33});
    check(scene, parts_of(scene, {2, 17, 70, 5}));
  });
}

TEST_CASE("prefill: chunks after an earlier context", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 2}, {128, 7, 2, 48}, {128, 1, 3}, {256, 2, 1}}, [](const Shape& shape) {
    Scene scene(shape, {300, 257, 64, 130});
    check(scene, parts_of(scene, {100, 2, 64, 65}));
  });
}

TEST_CASE("prefill: lengths around tiles and every block size", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache(
      {{64, 7, 1, 16}, {64, 1, 2, 32}, {64, 16, 1, 64}, {128, 7, 1, 64}, {128, 3, 2, 48}, {128, 6, 1, 32}},
      [](const Shape& shape) {
        Scene scene(shape, {127, 128, 129, 255, 256, 257, 384, 400, 3});
        check(scene, parts_of(scene, {127, 128, 2, 255, 3, 257, 130, 64, 2}));
      });
}

TEST_CASE("prefill: more tiles of rows than a device has multiprocessors", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 8}, {128, 7, 8}}, [](const Shape& shape) {
    Scene scene(shape, {300, 200, 1, 150, 40});
    check(scene, parts_of(scene, {300, 180, 1, 150, 40}));
  });
}

TEST_CASE("prefill: more sequences than a warp has lanes", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 2, 2}, {128, 5, 1}}, [](const Shape& shape) {
    std::vector<int32_t> contexts, tokens;
    for (int32_t s = 0; s < 70; ++s) {
      contexts.push_back(2 + s * 37 % 300);
      tokens.push_back(std::min(contexts.back(), 1 + s % 9));
    }
    Scene scene(shape, contexts);
    check(scene, parts_of(scene, tokens));
  });
}

TEST_CASE("prefill: long contexts", "[cuda][attention][slow]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 1}, {128, 7, 1}}, [](const Shape& shape) {
    Scene scene(shape, {9001, 16390});
    check(scene, parts_of(scene, {21, 7}));
  });
}

TEST_CASE("prefill: long prompts", "[cuda][attention][slow]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 2}, {128, 7, 1}}, [](const Shape& shape) {
    Scene scene(shape, {2048, 4096});
    check(scene, parts_of(scene, {2048, 300}));
  });
}

TEST_CASE("decoding sequences among prompts", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 2}, {128, 4, 2}}, [](const Shape& shape) {
    Scene scene(shape, {700, 90, 1, 140, 33});
    check(scene, parts_of(scene, {1, 90, 1, 40, 1}));
  });
}

TEST_CASE("a prompt has the same results in one piece and in chunks", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  const auto check_chunks = [](const Shape& shape, const std::vector<int32_t>& chunks) {
    const int32_t length = std::accumulate(chunks.begin(), chunks.end(), 0);
    Scene scene(shape, {length});
    const std::vector<float> whole = scene.run({{0, {length, length}}}, false);
    std::vector<float> joined;
    int32_t context = 0;
    for (const int32_t tokens : chunks) {
      const std::vector<float> next = scene.run({{0, {tokens, context += tokens}}}, true);
      joined.insert(joined.end(), next.begin(), next.end());
    }
    CHECK(same_bits(std::span<const float>(joined), std::span<const float>(whole)));
  };
  for_each_cache({{64, 7, 2}, {128, 5, 1}, {128, 7, 2, 32}}, [&](const Shape& shape) {
    check_chunks(shape, {50, 101, 52});
    check_chunks(shape, {128, 127, 2, 300, 143});
  });
}

TEST_CASE("keys of several hundred keep the queries' low bits", "[cuda][attention]") {
  NEEDS_CUDA_DEVICE();
  for_each_cache({{64, 7, 1}, {128, 7, 1}, {256, 2, 1}}, [](const Shape& shape) {
    Scene scene(shape, {400, 150}, 300.0f);
    check(scene, parts_of(scene, {1, 40}));
  });
}
