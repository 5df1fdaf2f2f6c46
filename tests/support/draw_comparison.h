// Whether a device draws what the CPU sampler draws. Sums are rounded differently, so where they differ the
// random number must lie at a boundary.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cpu/philox.h"
#include "kernels/cpu/sampler.h"

namespace qwend::test {

enum class DrawMatch : uint8_t {
  Same,
  Boundary,  // the random number lies within `tolerance` of the token's share
  Different,
};

inline DrawMatch match_draw(cpu::Sampler& sampler, std::span<const float> logits, const SamplingRow& row,
                            int32_t expected, int32_t token, double tolerance = 1e-6) {
  if (token == expected) return DrawMatch::Same;
  if (cpu::is_greedy(row)) return DrawMatch::Different;
  std::vector<cpu::Candidate> kept = sampler.distribution(logits, row);
  std::sort(kept.begin(), kept.end(),
            [](const cpu::Candidate& a, const cpu::Candidate& b) { return a.token < b.token; });
  const double uniform = uniform_at(row.seed, row.position);
  double before = 0.0;
  for (const cpu::Candidate& c : kept) {
    const double after = before + static_cast<double>(c.weight);
    if (c.token >= token) {
      // A token that is not kept here lies between two that are; one that ties with the last kept may be.
      const double end = c.token == token ? after : before;
      return uniform > before - tolerance && uniform < end + tolerance ? DrawMatch::Boundary
                                                                       : DrawMatch::Different;
    }
    before = after;
  }
  return uniform > before - tolerance ? DrawMatch::Boundary : DrawMatch::Different;
}

// "" if the log-probabilities agree, otherwise what does not.
inline std::string logprob_difference(std::span<const float> logits, const SampledToken& expected,
                                      const SampledToken& got, double tolerance = 1e-4) {
  const auto close = [&](float a, float b) {
    return a == b || std::abs(static_cast<double>(a) - static_cast<double>(b)) <= tolerance;
  };
  if (expected.token == got.token && !close(expected.logprob, got.logprob)) {
    return "logprob " + std::to_string(got.logprob) + " for " + std::to_string(expected.logprob);
  }
  if (expected.top.size() != got.top.size()) {
    return std::to_string(got.top.size()) + " alternatives for " + std::to_string(expected.top.size());
  }
  for (size_t i = 0; i < got.top.size(); ++i) {
    if (expected.top[i].token != got.top[i].token || !close(expected.top[i].logprob, got.top[i].logprob)) {
      return "alternative " + std::to_string(i) + ": token " + std::to_string(got.top[i].token) +
             " at logit " + std::to_string(logits[static_cast<size_t>(got.top[i].token)]);
    }
  }
  return "";
}

}  // namespace qwend::test
