// Expert choice, and the whole expert layer against a plain implementation.
#include <cmath>
#include <random>

#include "kernels/backend.h"
#include "kernels/cpu/moe.h"
#include "tests/support/catch2.h"

using namespace qwend;
using namespace qwend::cpu;

namespace {

std::vector<float> random_values(size_t n, uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(n);
  for (float& x : values) x = normal(random);
  return values;
}

HostMatrix f32_matrix(const std::vector<float>& values, int64_t rows, int64_t cols, int64_t experts = 1) {
  return {"test", reinterpret_cast<const std::byte*>(values.data()), DType::F32, rows, cols, experts};
}

// y = row of W (rows x cols) . x
double product(const std::vector<float>& w, size_t row, const std::vector<double>& x) {
  double sum = 0.0;
  for (size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(w[row * x.size() + i]) * x[i];
  return sum;
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }

}  // namespace

TEST_CASE("experts with the largest probabilities are chosen, lowest index on a tie", "[kernels][moe]") {
  const std::vector<float> logits{1.0f, 3.0f, 2.0f, 3.0f, -1.0f};
  std::vector<ExpertChoice> chosen(3);
  choose_experts(logits, {5, 3, 8, false}, chosen);
  CHECK(chosen[0].expert == 1);
  CHECK(chosen[1].expert == 3);
  CHECK(chosen[2].expert == 2);
  double total = 0.0;
  for (const float x : logits) total += std::exp(static_cast<double>(x));
  CHECK(chosen[0].weight == Approx(std::exp(3.0) / total));
  CHECK(chosen[2].weight == Approx(std::exp(2.0) / total));
  choose_experts(logits, {5, 3, 8, true}, chosen);
  CHECK(chosen[0].weight + chosen[1].weight + chosen[2].weight == Approx(1.0));
}

TEST_CASE("tokens are grouped by expert", "[kernels][moe]") {
  const std::vector<ExpertChoice> choices{{2, 0.5f}, {0, 0.25f}, {0, 0.75f}, {3, 0.1f}, {2, 0.2f}, {3, 0.3f}};
  ExpertBatches batches;
  batches.build(choices, 2, 5);
  const auto list = [](auto span) { return std::vector(span.begin(), span.end()); };
  CHECK(list(batches.tokens(0)) == std::vector<int32_t>{0, 1});
  CHECK(list(batches.weights(0)) == std::vector<float>{0.25f, 0.75f});
  CHECK(batches.tokens(1).empty());
  CHECK(list(batches.tokens(2)) == std::vector<int32_t>{0, 2});
  CHECK(list(batches.tokens(3)) == std::vector<int32_t>{1, 2});
  CHECK(list(batches.weights(3)) == std::vector<float>{0.1f, 0.3f});
  CHECK(batches.tokens(4).empty());
}

TEST_CASE("the expert layer equals its definition", "[kernels][moe]") {
  constexpr size_t D = 32, E = 6, F = 24, Fs = 40, T = 5;
  const auto router = random_values(E * D, 1, 0.5f), gate = random_values(E * F * D, 2, 0.3f);
  const auto up = random_values(E * F * D, 3, 0.3f), down = random_values(E * D * F, 4, 0.3f);
  const auto shared_gate = random_values(Fs * D, 5, 0.3f), shared_up = random_values(Fs * D, 6, 0.3f);
  const auto shared_down = random_values(D * Fs, 7, 0.3f), shared_scale = random_values(D, 8, 0.3f);
  const auto table = random_values(T * D, 9, 1.0f), norm = random_values(D, 10, 1.0f);
  for (const bool renormalise : {false, true}) {
    for (const bool shared : {false, true}) {
      INFO("renormalise " << renormalise << " shared " << shared);
      const std::unique_ptr<Backend> backend = make_cpu_backend(8, 8, 2);
      const HostMatrix gate_up[] = {f32_matrix(gate, F, D, E), f32_matrix(up, F, D, E)};
      const HostMatrix shared_parts[] = {f32_matrix(shared_gate, Fs, D), f32_matrix(shared_up, Fs, D)};
      const HostMatrix downs = f32_matrix(down, D, F, E), routers = f32_matrix(router, E, D);
      const HostMatrix shared_downs = f32_matrix(shared_down, D, Fs);
      const Matrix embed = backend->upload_embedding(f32_matrix(table, T, D), false);
      const Matrix m_router = backend->upload({&routers, 1}), m_gate_up = backend->upload(gate_up);
      const Matrix m_down = backend->upload({&downs, 1}), m_shared = backend->upload(shared_parts);
      const Matrix m_shared_down = backend->upload({&shared_downs, 1});
      const Vector v_norm = backend->upload_vector(norm), v_scale = backend->upload_vector(shared_scale);
      const Activation x = backend->allocate(D);

      const std::vector<int32_t> tokens{0, 1, 2, 3, 4}, cu_seqlens{0, 5}, context{5}, blocks{0};
      backend->begin_step({tokens, tokens, tokens, cu_seqlens, context, blocks, 1, {}});
      backend->embed(*embed, *x);
      backend->moe_ffn({*v_norm,
                        1e-6f,
                        *m_router,
                        *m_gate_up,
                        *m_down,
                        shared ? m_shared.get() : nullptr,
                        shared ? m_shared_down.get() : nullptr,
                        shared ? v_scale.get() : nullptr,
                        {static_cast<int32_t>(E), 2, static_cast<int32_t>(F), renormalise}},
                       *x);

      for (size_t t = 0; t < T; ++t) {
        std::vector<double> n(D), expected(D);
        double squares = 0.0;
        for (size_t d = 0; d < D; ++d) squares += std::pow(static_cast<double>(table[t * D + d]), 2);
        for (size_t d = 0; d < D; ++d) {
          expected[d] = static_cast<double>(table[t * D + d]);
          n[d] = expected[d] / std::sqrt(squares / D + 1e-6) * static_cast<double>(norm[d]);
        }
        std::vector<std::pair<double, size_t>> p;
        double total = 0.0;
        for (size_t e = 0; e < E; ++e) {
          p.emplace_back(std::exp(product(router, e, n)), e);
          total += p.back().first;
        }
        std::sort(p.rbegin(), p.rend());
        if (renormalise) total = p[0].first + p[1].first;
        const auto add_ffn = [&](const std::vector<float>& g, const std::vector<float>& u,
                                 const std::vector<float>& w, size_t expert, size_t width, double scale) {
          std::vector<double> h(width);
          for (size_t f = 0; f < width; ++f) {
            h[f] = silu(product(g, expert * width + f, n)) * product(u, expert * width + f, n);
          }
          for (size_t d = 0; d < D; ++d) expected[d] += scale * product(w, expert * D + d, h);
        };
        for (size_t i = 0; i < 2; ++i) add_ffn(gate, up, down, p[i].second, F, p[i].first / total);
        if (shared) {
          add_ffn(shared_gate, shared_up, shared_down, 0, Fs,
                  1.0 / (1.0 + std::exp(-product(shared_scale, 0, n))));
        }
        const std::vector<float> got = backend->read(*x, static_cast<int32_t>(t));
        for (size_t d = 0; d < D; ++d) CHECK(got[d] == Approx(expected[d]).margin(1e-4));
      }
    }
  }
}
