// The same op on the CUDA backend and on the CPU backend in FP32, through the contract between engine and
// hardware.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "tests/cuda/cuda_test.h"
#include "tests/kernels/random_weights.h"

namespace qwend::test {

using Rows = std::vector<std::vector<float>>;  // [T][width]

struct Backends {
  // Two threads: with one a core, tests that run beside each other wait for each other's threads to be
  // scheduled.
  explicit Backends(int32_t max_tokens)
      : cpu(make_cpu_backend(max_tokens, max_tokens, 2, CpuProducts::Exact)),
        cuda(make_cuda_backend(0, max_tokens, max_tokens)) {}
  std::unique_ptr<Backend> cpu, cuda;
};

// A step over sequences that have `cached` tokens in the cache and compute `fresh` more. Their blocks lie
// scattered among num_blocks, a power of two.
struct TestStep {
  struct Seq {
    int32_t cached = 0, fresh = 1;
  };
  static constexpr int32_t kBlockSize = 16;
  std::vector<int32_t> tokens, positions, slots, cu_seqlens{0}, context_lens, tables, logit_rows;
  int32_t stride = 1;

  explicit TestStep(const std::vector<Seq>& seqs, int32_t num_blocks = 1024, int32_t vocab = 32) {
    for (const Seq& seq : seqs)
      stride = std::max(stride, (seq.cached + seq.fresh + kBlockSize - 1) / kBlockSize);
    tables.assign(seqs.size() * static_cast<size_t>(stride), -1);  // what no sequence owns must not be read
    int32_t taken = 0;
    for (size_t s = 0; s < seqs.size(); ++s) {
      const int32_t length = seqs[s].cached + seqs[s].fresh;
      for (int32_t b = 0; b * kBlockSize < length; ++b) {
        tables[s * static_cast<size_t>(stride) + static_cast<size_t>(b)] = taken++ * 37 % num_blocks;
      }
      REQUIRE(taken <= num_blocks);
      for (int32_t position = seqs[s].cached; position < length; ++position) {
        tokens.push_back(position * 7 % vocab);
        positions.push_back(position);
        slots.push_back(slot(s, position));
      }
      cu_seqlens.push_back(static_cast<int32_t>(tokens.size()));
      context_lens.push_back(length);
    }
  }
  // T sequences of one token each: a decode step.
  static TestStep decode(int32_t num_tokens) {
    return TestStep(std::vector<Seq>(static_cast<size_t>(num_tokens)));
  }
  int32_t slot(size_t seq, int32_t position) const {
    const int32_t block =
        tables[seq * static_cast<size_t>(stride) + static_cast<size_t>(position / kBlockSize)];
    return block * kBlockSize + position % kBlockSize;
  }
  int32_t num_tokens() const { return static_cast<int32_t>(tokens.size()); }
  StepInput input() const {
    return {tokens, positions, slots, cu_seqlens, context_lens, tables, stride, logit_rows};
  }
};

inline Rows read_all(Backend& backend, const DeviceActivation& a, int32_t num_tokens) {
  Rows rows;
  for (int32_t t = 0; t < num_tokens; ++t) rows.push_back(backend.read(a, t));
  return rows;
}
// values: [T, width]
inline void write_all(Backend& backend, DeviceActivation& a, const std::vector<float>& values) {
  const auto width = static_cast<size_t>(a.width());
  for (size_t t = 0; t * width < values.size(); ++t) {
    backend.write(a, static_cast<int32_t>(t), std::span(values).subspan(t * width, width));
  }
}
inline void poison_all(Backend& backend, DeviceActivation& a, int32_t num_tokens) {
  write_all(backend, a,
            std::vector<float>(static_cast<size_t>(num_tokens * a.width()),
                               std::numeric_limits<float>::quiet_NaN()));
}

// Largest ||got - want|| / ||want|| of a row; infinite where a row has NaN.
inline double worst_row_error(const Rows& got, const Rows& want) {
  REQUIRE(got.size() == want.size());
  double worst = 0.0;
  for (size_t t = 0; t < got.size(); ++t) {
    REQUIRE(got[t].size() == want[t].size());
    double error = 0.0, power = 0.0;
    for (size_t i = 0; i < got[t].size(); ++i) {
      error += std::pow(static_cast<double>(got[t][i]) - static_cast<double>(want[t][i]), 2);
      power += std::pow(static_cast<double>(want[t][i]), 2);
    }
    const double relative = std::sqrt(error / power);
    worst = std::isfinite(relative) ? std::max(worst, relative) : INFINITY;
  }
  return worst;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return same_bits(std::span<const float>(a), std::span<const float>(b));
}

// [T, width] normal values; every fourth row has outliers of 1e4 to 1e7, as Qwen2's activations do.
inline std::vector<float> activations(int32_t num_tokens, int64_t width, uint32_t seed) {
  std::vector<float> x = normal_values(static_cast<size_t>(num_tokens * width), seed);
  const auto w = static_cast<size_t>(width);
  for (size_t t = 1; t < static_cast<size_t>(num_tokens); t += 4) {
    x[t * w + t * 5 % w] = std::pow(10.0f, static_cast<float>(4 + t / 4 % 4));
    x[t * w + (t * 11 + 2) % w] = -1e4f;
  }
  return x;
}

// Shortest rows that a format has.
inline int64_t block_length(DType type) { return std::max(32, format_info(type).block_elements); }

// Owns random matrices and shows them as the parts of one upload.
class RandomParts {
 public:
  RandomParts& add(DType type, int64_t rows, int64_t cols, int64_t experts = 1, float magnitude = 0.05f) {
    parts_.emplace_back(type, rows, cols, experts, static_cast<uint32_t>(101 + 7 * parts_.size()), magnitude);
    return *this;
  }
  std::vector<HostMatrix> views() const {
    std::vector<HostMatrix> list;
    for (const RandomWeights& part : parts_) list.push_back(part.matrix());
    return list;
  }
  const RandomWeights& operator[](size_t i) const { return parts_[i]; }

 private:
  std::vector<RandomWeights> parts_;
};

// FP16 activations and, where tokens are many, FP16 weights: both rounded at 2^-12 root mean square.
constexpr double kProductTolerance = 1e-3;
// Activations of 22 bits, weights as they are: what FP32 sums leave, in the device's order or the host's.
constexpr double kTwoPlaneTolerance = 2e-5;

}  // namespace qwend::test
