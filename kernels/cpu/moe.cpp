#include "kernels/cpu/moe.h"

#include <limits>

#include "kernels/check.h"
#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {

void choose_experts(std::span<const float> router_logits, const MoeShape& shape,
                    std::span<ExpertChoice> chosen) {
  const auto experts = static_cast<int64_t>(router_logits.size());
  const float top = vector_ops().max(router_logits.data(), experts);
  const double total = vector_ops().exp_sum(router_logits.data(), top, 1.0f, experts, nullptr);
  double sum = 0.0;
  for (size_t rank = 0; rank < chosen.size(); ++rank) {
    int32_t best = -1;
    for (int32_t e = 0; e < shape.num_experts; ++e) {
      bool taken = false;
      for (size_t i = 0; i < rank; ++i) taken = taken || chosen[i].expert == e;
      const float logit = router_logits[static_cast<size_t>(e)];
      if (!taken && (best < 0 || logit > router_logits[static_cast<size_t>(best)])) best = e;
    }
    float weight = 0.0f;
    vector_ops().exp_sum(&router_logits[static_cast<size_t>(best)], top, 1.0f, 1, &weight);
    chosen[rank] = {best, weight};
    sum += static_cast<double>(weight);
  }
  const double divisor = shape.renormalise ? sum : total;
  for (ExpertChoice& c : chosen) c.weight = static_cast<float>(static_cast<double>(c.weight) / divisor);
}

void ExpertBatches::build(std::span<const ExpertChoice> choices, int32_t num_used, int32_t num_experts) {
  begin_.assign(static_cast<size_t>(num_experts) + 1, 0);
  for (const ExpertChoice& c : choices) ++begin_[static_cast<size_t>(c.expert) + 1];
  for (size_t e = 0; e < static_cast<size_t>(num_experts); ++e) begin_[e + 1] += begin_[e];
  tokens_.resize(choices.size());
  weights_.resize(choices.size());
  std::vector<size_t> next(begin_.begin(), begin_.end() - 1);
  for (size_t i = 0; i < choices.size(); ++i) {
    const size_t at = next[static_cast<size_t>(choices[i].expert)]++;
    tokens_[at] = static_cast<int32_t>(i) / num_used;
    weights_[at] = choices[i].weight;
  }
}

}  // namespace qwend::cpu
