// A decode step as one kernel against the same step by ops, on the same device.
#include "tests/cuda/parity.h"

using namespace qwend;
using namespace qwend::test;

namespace {

constexpr float kEps = 1e-6f;
constexpr uint64_t kProgram = 1;

struct Layout {
  const char* name;
  int64_t width, ffn, vocab;
  AttentionShape heads;
  // Of query and key, value (as in Q4_K_M), output, gate and up, down; of all other layers: the last.
  std::vector<std::array<DType, 5>> formats;
  DType output = DType::Q8_0;
  bool bias = true, qk_norm = false;
  int layers = 3;
};

// A model of random weights and its forward pass, on any backend.
class Model {
 public:
  Model(Backend& backend, const Layout& layout, KvDType kv, int32_t num_blocks)
      : backend_(backend), layout_(layout) {
    const AttentionShape& a = layout.heads;
    const int64_t query = int64_t{a.num_heads} * a.head_dim, key = int64_t{a.num_kv_heads} * a.head_dim;
    const auto norm = [&](int64_t width, uint32_t seed) {
      std::vector<float> w = normal_values(static_cast<size_t>(width), seed, 0.1f);
      for (float& x : w) x += 1.0f;
      return backend.upload_vector(w);
    };
    const RandomWeights table(DType::Q8_0, layout.vocab, layout.width, 1, 5, 2.0f);
    embedding_ = backend.upload_embedding(table.matrix(), false);
    for (int i = 0; i < layout.layers; ++i) {
      const auto seed = static_cast<uint32_t>(1000 * i);
      const auto& formats =
          layout.formats[std::min<size_t>(static_cast<size_t>(i), layout.formats.size() - 1)];
      const auto matrix = [&](DType type, int64_t rows, int64_t cols, uint32_t part) {
        return RandomWeights(type, rows, cols, 1, seed + part, 1.5f / std::sqrt(static_cast<float>(cols)));
      };
      const RandomWeights q = matrix(formats[0], query, layout.width, 1),
                          k = matrix(formats[0], key, layout.width, 2),
                          v = matrix(formats[1], key, layout.width, 3),
                          o = matrix(formats[2], layout.width, query, 4),
                          g = matrix(formats[3], layout.ffn, layout.width, 5),
                          u = matrix(formats[3], layout.ffn, layout.width, 6),
                          d = matrix(formats[4], layout.width, layout.ffn, 7);
      Layer layer;
      layer.qkv = backend.upload(std::array{q.matrix(), k.matrix(), v.matrix()});
      layer.out = backend.upload(std::array{o.matrix()});
      layer.gate_up = backend.upload(std::array{g.matrix(), u.matrix()});
      layer.down = backend.upload(std::array{d.matrix()});
      layer.attn_norm = norm(layout.width, seed + 8), layer.ffn_norm = norm(layout.width, seed + 9);
      if (layout.bias) {
        layer.bias = backend.upload_vector(normal_values(static_cast<size_t>(query + 2 * key), seed + 10));
      }
      if (layout.qk_norm)
        layer.q_norm = norm(a.head_dim, seed + 11), layer.k_norm = norm(a.head_dim, seed + 12);
      layers_.push_back(std::move(layer));
    }
    const RandomWeights output(layout.output, layout.vocab, layout.width, 1, 6, 0.1f);
    output_ = backend.upload(std::array{output.matrix()});
    output_norm_ = norm(layout.width, 7);
    x_ = backend.allocate(layout.width), q_ = backend.allocate(query), attn_ = backend.allocate(query);
    h_ = backend.allocate(layout.ffn);
    rope_.rotary_dim = a.head_dim;
    for (int i = 0; i < a.head_dim / 2; ++i) rope_.inv_freq.push_back(std::pow(1e6, -2.0 * i / a.head_dim));
    kv_ = backend.allocate_kv(
        {layout.layers, num_blocks, TestStep::kBlockSize, a.num_kv_heads, a.head_dim, kv});
  }

  Rows forward(const TestStep& step, uint64_t program) {
    if (!backend_.begin_step(step.input(), program)) {
      backend_.embed(*embedding_, *x_);
      for (int32_t i = 0; i < layout_.layers; ++i) {
        const Layer& layer = layers_[static_cast<size_t>(i)];
        backend_.attn_input({*layer.attn_norm, kEps, *layer.qkv, layer.bias.get(), layer.q_norm.get(),
                             layer.k_norm.get(), rope_, layout_.heads, i},
                            *x_, *kv_, *q_);
        backend_.attention(layout_.heads, i, *q_, *kv_, *attn_);
        backend_.linear_residual(*layer.out, *attn_, *x_);
        backend_.ffn_gate_up(*layer.ffn_norm, kEps, *layer.gate_up, *x_, *h_);
        backend_.linear_residual(*layer.down, *h_, *x_);
      }
      backend_.logits(*output_norm_, kEps, *output_, *x_);
    }
    Rows rows;
    for (size_t i = 0; i < step.logit_rows.size(); ++i)
      rows.push_back(backend_.read_logits(static_cast<int32_t>(i)));
    return rows;
  }
  KvRow newest(const TestStep& step, int32_t layer, int32_t head, size_t row) {
    return backend_.read_kv(*kv_, {layer, head, step.slots[row]});
  }

 private:
  struct Layer {
    Matrix qkv, out, gate_up, down;
    Vector attn_norm, ffn_norm, bias, q_norm, k_norm;
  };
  Backend& backend_;
  const Layout layout_;
  std::vector<Layer> layers_;
  Matrix embedding_, output_;
  Vector output_norm_;
  Activation x_, q_, attn_, h_;
  RopeTable rope_;
  KvCachePtr kv_;
};

// Contexts of the rows, their newest token included.
TestStep decode_of(const std::vector<int32_t>& contexts) {
  std::vector<TestStep::Seq> seqs;
  for (const int32_t context : contexts) seqs.push_back({context - 1, 1});
  TestStep step(seqs, 1024, 256);
  for (int32_t t = 0; t < step.num_tokens(); ++t) step.logit_rows.push_back(t);
  return step;
}

// The rows' earlier tokens, in chunks.
void prefill(Model& model, const std::vector<int32_t>& contexts, int32_t chunk) {
  int32_t longest = *std::max_element(contexts.begin(), contexts.end()) - 1;
  for (int32_t at = 0; at < longest; at += chunk) {
    for (size_t row = 0; row < contexts.size(); ++row) {
      const int32_t fresh = std::min(chunk, contexts[row] - 1 - at);
      if (fresh <= 0) continue;
      // All rows' blocks, so that tables are those of the decode step; only this row computes.
      const TestStep whole = decode_of(contexts);
      TestStep step({{at, fresh}}, 1024, 256);
      step.tables.assign(whole.tables.begin() + static_cast<std::ptrdiff_t>(row) * whole.stride,
                         whole.tables.begin() + static_cast<std::ptrdiff_t>(row + 1) * whole.stride);
      step.stride = whole.stride;
      for (int32_t i = 0; i < fresh; ++i) step.slots[static_cast<size_t>(i)] = whole.slot(row, at + i);
      model.forward(step, 0);
    }
  }
}

constexpr AttentionShape kHeads64{14, 2, 64, kEps}, kHeads128{8, 2, 128, kEps}, kHeadsWide{28, 4, 128, kEps};

std::vector<Layout> layouts() {
  using enum DType;
  std::vector<Layout> list{
      {"0.5B, F16", 896, 4864, 2048, kHeads64, {{F16, F16, F16, F16, F16}}, F16},
      {"0.5B, Q8_0", 896, 4864, 2048, kHeads64, {{Q8_0, Q8_0, Q8_0, Q8_0, Q8_0}}},
      {"0.5B, layers that differ",
       896,
       4864,
       2048,
       kHeads64,
       {{Q5_0, Q8_0, Q5_0, Q5_0, Q8_0}, {Q5_0, Q5_0, Q5_0, Q5_0, F16}, {F16, Q5_0, Q4_0, Q8_0, Q5_0}}},
      {"norms of heads",
       1024,
       3072,
       2064,
       kHeads128,
       {{Q4_K, Q6_K, Q4_K, Q4_K, Q6_K}, {Q4_K, Q4_K, Q4_K, Q4_K, Q4_K}},
       Q6_K,
       false,
       true},
      {"7B, Q4_K_M",
       3584,
       18944,
       4096,
       kHeadsWide,
       {{Q4_K, Q6_K, Q4_K, Q4_K, Q6_K}, {Q4_K, Q4_K, Q4_K, Q4_K, Q4_K}},
       Q6_K,
       true,
       false,
       2},
      {"small, F16", 448, 320, 304, {4, 2, 64, kEps}, {{F16, F16, F16, F16, F16}}, F16},
      {"tiny",
       64,
       192,
       272,
       {2, 1, 64, kEps},
       {{Q4_1, Q5_1, Q5_1, IQ4_NL, Q4_1}, {F16, Q8_0, F16, Q8_0, F16}},
       F16},
  };
  for (const DType type : {Q2_K, Q3_K, Q5_K, IQ4_XS})
    list.push_back({"of 256",
                    512,
                    1280,
                    1024,
                    {4, 1, 128, kEps},
                    {{type, type, type, type, type}},
                    type,
                    false,
                    false,
                    2});
  return list;
}

// One kernel's logits, keys and values are those of the ops, and the same bits when it runs again. chunk: of
// the prompts before.
void check_layout(const Layout& layout, const std::vector<int32_t>& contexts, int32_t chunk) {
  const auto backend = make_cuda_backend(0, 512, 16);
  Model model(*backend, layout, KvDType::F16, 1024);
  model.forward(decode_of({1}), kProgram);  // the first is noted as it runs by ops
  for (const int32_t context : contexts) {
    prefill(model, {context}, chunk);
    const TestStep step = decode_of({context});
    const Rows by_ops = model.forward(step, 0);
    const KvRow kv = model.newest(step, layout.layers - 1, 0, 0);
    const Rows fused = model.forward(step, kProgram), again = model.forward(step, kProgram);
    INFO(layout.name << ", context " << context);
    // Ops read one plane of the attention's results and of the FFN's inputs; the kernel reads 15 bits of what
    // meets block formats.
    CHECK(worst_row_error(fused, by_ops) < 1e-2);
    CHECK(same_bits(fused[0], again[0]));
    const KvRow newest = model.newest(step, layout.layers - 1, 0, 0);
    CHECK(worst_row_error({newest.key, newest.value}, {kv.key, kv.value}) < 1e-2);
  }
}

}  // namespace

TEST_CASE("a decode step as one kernel is the step by ops", "[cuda][decode]") {
  NEEDS_CUDA_DEVICE();
  for (const Layout& layout : layouts()) check_layout(layout, {1, 2, 16, 17, 128, 129, 300, 2000, 9000}, 512);
}

TEST_CASE("a decode step as one kernel, small", "[cuda][decode][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for (const Layout& layout : layouts()) {
    if (layout.width <= 512) check_layout(layout, {1, 17, 200}, 16);  // no products of the library
  }
}
