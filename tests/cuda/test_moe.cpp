// Routing, grouping and the sum over experts, against the CPU's choice of experts and plain loops.
#include <cmath>
#include <limits>
#include <set>

#include "kernels/cpu/moe.h"
#include "kernels/cuda/moe.h"
#include "tests/cuda/cuda_test.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

template <class T>
void put(const DeviceBuffer<T>& buffer, const std::vector<T>& values) {
  REQUIRE(values.size() <= buffer.size());
  copy_to_device(buffer.data(), values.data(), values.size() * sizeof(T));
}
template <class T>
void poison(const DeviceBuffer<T>& buffer) {
  CUDA_CHECK(cudaMemset(buffer.data(), 0xff, buffer.bytes()));
  CUDA_CHECK(cudaDeviceSynchronize());
}

struct Routed {
  std::vector<int32_t> expert, offsets, input_rows, output_rows;
  std::vector<float> weight;
};

Routed route(const MoeShape& shape, const std::vector<float>& logits) {
  const auto num_tokens = static_cast<int32_t>(logits.size() / static_cast<size_t>(shape.num_experts));
  MoeBuffers buffers;
  buffers.reserve(num_tokens, shape, 64, 0);
  put(buffers.router, logits);
  poison(buffers.expert), poison(buffers.weight), poison(buffers.offsets);
  poison(buffers.input_rows), poison(buffers.output_rows);
  route_tokens(shape, num_tokens, buffers, nullptr);
  return {to_host(buffers.expert), to_host(buffers.offsets), to_host(buffers.input_rows),
          to_host(buffers.output_rows), to_host(buffers.weight)};
}

// The lists of pairs that the chosen experts must give.
void check_groups(const Routed& got, const MoeShape& shape) {
  std::vector<int32_t> offsets{0}, input_rows, output_rows;
  for (int32_t e = 0; e < shape.num_experts; ++e) {
    for (size_t p = 0; p < got.expert.size(); ++p) {
      if (got.expert[p] != e) continue;
      input_rows.push_back(static_cast<int32_t>(p) / shape.num_used);
      output_rows.push_back(static_cast<int32_t>(p));
    }
    offsets.push_back(static_cast<int32_t>(output_rows.size()));
  }
  CHECK(got.offsets == offsets);
  CHECK(got.input_rows == input_rows);
  CHECK(got.output_rows == output_rows);
}

}  // namespace

TEST_CASE("tokens are routed as on the CPU, ties included", "[cuda][moe]") {
  NEEDS_CUDA_DEVICE();
  const std::pair<int32_t, int32_t> sizes[] = {{2, 1},   {4, 2},   {8, 8},    {60, 4},   {64, 6},
                                               {65, 16}, {128, 8}, {200, 10}, {512, 16}, {512, 1}};
  for (const auto& [experts, used] : sizes) {
    for (const int32_t num_tokens : {1, 2, 5, 130, 2048}) {
      for (const bool renormalise : {false, true}) {
        INFO(experts << " experts, " << used << " used, " << num_tokens << " tokens, renormalise "
                     << renormalise);
        const MoeShape shape{experts, used, 32, renormalise};
        const auto e = static_cast<size_t>(experts), k = static_cast<size_t>(used);
        std::vector<float> logits = normal_values(e * static_cast<size_t>(num_tokens), 61, 2.0f);
        // Every second token has few different values: ties at and around the last chosen.
        for (size_t i = 0; i < logits.size(); ++i) {
          if (i / e % 2 == 1) logits[i] = std::round(logits[i]);
        }
        const Routed got = route(shape, logits);
        int wrong_experts = 0, wrong_weights = 0;
        std::vector<cpu::ExpertChoice> chosen(k);
        for (size_t t = 0; t < static_cast<size_t>(num_tokens); ++t) {
          cpu::choose_experts({&logits[t * e], e}, shape, chosen);
          for (size_t j = 0; j < k; ++j) {
            wrong_experts += got.expert[t * k + j] != chosen[j].expert;
            wrong_weights +=
                !(std::abs(got.weight[t * k + j] - chosen[j].weight) <= 1e-5f * chosen[j].weight);
          }
        }
        CHECK(wrong_experts == 0);
        CHECK(wrong_weights == 0);
        check_groups(got, shape);
      }
    }
  }
}

TEST_CASE("whatever the router says, experts are valid and different", "[cuda][moe][sanitize]") {
  NEEDS_CUDA_DEVICE();
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const MoeShape shape{8, 4, 32, true};
  std::vector<float> logits;
  for (const float fill : {nan, -nan, inf, -inf, 0.0f, -0.0f, 3e38f}) logits.insert(logits.end(), 8, fill);
  logits.insert(logits.end(), {nan, 1.0f, -inf, inf, -nan, 0.0f, -1.0f, 2.0f});
  const Routed got = route(shape, logits);
  for (size_t t = 0; t < logits.size() / 8; ++t) {
    INFO("token " << t);
    std::set<int32_t> experts(got.expert.begin() + static_cast<std::ptrdiff_t>(t * 4),
                              got.expert.begin() + static_cast<std::ptrdiff_t>(t * 4 + 4));
    CHECK(experts.size() == 4);
    CHECK((*experts.begin() >= 0 && *experts.rbegin() < 8));
  }
  check_groups(got, shape);
}

TEST_CASE("experts are summed in ascending order", "[cuda][moe]") {
  NEEDS_CUDA_DEVICE();
  for (const int64_t width : {1, 30, 64, 100, 2048, 5120}) {
    for (const int32_t used : {1, 2, 8, 16}) {
      for (const int32_t num_tokens : {1, 67}) {
        INFO("width " << width << ", " << used << " used, " << num_tokens << " tokens");
        const MoeShape shape{40, used, 32, false};
        const auto tokens = static_cast<size_t>(num_tokens), w = static_cast<size_t>(width),
                   k = static_cast<size_t>(used);
        const Routed routed = route(shape, normal_values(tokens * 40, 67));
        const std::vector<float> down = normal_values(tokens * k * w, 71),
                                 before = normal_values((tokens + 1) * w, 73);
        MoeBuffers buffers;
        buffers.reserve(num_tokens, shape, width, 0);
        put(buffers.expert, routed.expert), put(buffers.weight, routed.weight), put(buffers.down, down);
        const auto x = to_device(before);
        combine_experts(shape, num_tokens, width, buffers, x.data(), nullptr);
        std::vector<float> expected = before;
        for (size_t t = 0; t < tokens; ++t) {
          for (int32_t e = 0; e < shape.num_experts; ++e) {
            for (size_t p = t * k; p < (t + 1) * k; ++p) {
              if (routed.expert[p] != e) continue;
              for (size_t i = 0; i < w; ++i) {
                float& sum = expected[t * w + i];
                sum = std::fma(routed.weight[p], down[p * w + i], sum);
              }
            }
          }
        }
        CHECK(same_bits(std::span<const float>(to_host(x)), std::span<const float>(expected)));
      }
    }
  }
}

TEST_CASE("the shared expert's gate and its sum", "[cuda][moe][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for (const int64_t width : {30, 64, 1000, 3584}) {
    INFO("width " << width);
    const auto w = static_cast<size_t>(width);
    constexpr int32_t kTokens = 37;
    const TestRows in(kTokens, width, 79, {-11, -14, 3}, width != 1000);  // 1,000: in one plane
    const std::vector<float> gate = normal_values(w, 83, 0.02f);
    const auto d_gate = to_device(gate);
    const auto weight = poisoned<float>(kTokens + 1);
    shared_expert_gate(d_gate.data(), in.view(), width, kTokens, weight.data(), nullptr);
    const std::vector<float> got = to_host(weight);
    for (int32_t t = 0; t < kTokens; ++t) {
      double sum = 0.0, magnitude = 0.0;
      for (int64_t i = 0; i < width; ++i) {
        const double term = in.value(t, i) * static_cast<double>(gate[static_cast<size_t>(i)]);
        sum += term;
        magnitude += std::abs(term);
      }
      const double expected = 1.0 / (1.0 + std::exp(-sum));
      CHECK(std::abs(static_cast<double>(got[static_cast<size_t>(t)]) - expected) <=
            1e-6 + 1e-6 * magnitude * expected * (1.0 - expected));
    }
    CHECK(is_poison(got.back()));
    const auto ungated = poisoned<float>(kTokens);
    shared_expert_gate(nullptr, in.view(), width, kTokens, ungated.data(), nullptr);
    CHECK(to_host(ungated) == std::vector<float>(kTokens, 1.0f));

    const std::vector<float> y = normal_values(w * kTokens, 89);
    std::vector<float> expected = normal_values(w * (kTokens + 1), 97);
    const auto x = to_device(expected);
    const auto d_y = to_device(y);
    add_scaled_rows(d_y.data(), weight.data(), width, kTokens, x.data(), nullptr);
    for (size_t i = 0; i < y.size(); ++i) expected[i] = std::fma(got[i / w], y[i], expected[i]);
    CHECK(same_bits(std::span<const float>(to_host(x)), std::span<const float>(expected)));
  }
}
