// Mixture of experts: which experts each token takes, and the tokens of each expert.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/buffer.h"

namespace qwend::cpu {

// Softmax over all router logits [E]; the num_used largest, lowest index on a tie, with their weights
// (divided by their sum when renormalised).
struct ExpertChoice {
  int32_t expert;
  float weight;
};
void choose_experts(std::span<const float> router_logits, const MoeShape& shape,
                    std::span<ExpertChoice> chosen);

// The choices of all tokens of a step, turned round: expert e has tokens[begin[e] .. begin[e + 1]),
// ascending, so that each expert's products run once for all its tokens.
class ExpertBatches {
 public:
  // choices: [T, num_used]
  void build(std::span<const ExpertChoice> choices, int32_t num_used, int32_t num_experts);
  std::span<const int32_t> tokens(int32_t expert) const { return slice(tokens_, expert); }
  std::span<const float> weights(int32_t expert) const { return slice(weights_, expert); }

 private:
  template <class T>
  std::span<const T> slice(const std::vector<T>& all, int32_t expert) const {
    const auto e = static_cast<size_t>(expert);
    return std::span<const T>(all).subspan(begin_[e], begin_[e + 1] - begin_[e]);
  }
  std::vector<size_t> begin_;    // [E + 1]
  std::vector<int32_t> tokens_;  // [T * num_used]
  std::vector<float> weights_;
};

}  // namespace qwend::cpu
