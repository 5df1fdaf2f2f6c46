// Draws one token from one row of logits (kernels/sampling.h has the semantics).
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/philox.h"
#include "kernels/sampling.h"

namespace qwend::cpu {

// A token that may be drawn. Weights are probabilities up to a common factor.
struct Candidate {
  int32_t token = 0;
  float weight = 0.0f;
};

// Holds scratch memory of a few vocabularies; one object a thread. Results depend on the arguments alone.
//
// NaN logits count as -inf and +inf as the largest float. A row without any finite logit means that the model
// failed: std::runtime_error, as is a mask that allows no token. Where bans and mask together leave nothing
// the mask decides alone. Temperatures below 1e-5 are greedy. Token ids in the row must be below the
// vocabulary.
class Sampler {
 public:
  explicit Sampler(int64_t vocab);
  SampledToken sample(std::span<const float> logits, const SamplingRow& row);
  // The distribution sample() draws from: every token it may return, weights adding up to 1.
  std::vector<Candidate> distribution(std::span<const float> logits, const SamplingRow& row);

 private:
  // Each step works on scores_ as the steps before left it.
  void copy_finite(std::span<const float> logits);
  void fill_logprobs(const SamplingRow& row, SampledToken& result, float& log_sum);
  void restrict(const SamplingRow& row);
  void apply_penalties(const SamplingRow& row);
  int32_t argmax() const;
  void filter(const SamplingRow& row);
  // The kept token, by ascending id, at which the sum of the weights passes `uniform` of the whole.
  int32_t draw(double uniform);
  int32_t draw_listed(double uniform);

  void select_largest(int32_t count, std::vector<Candidate>& out);  // by score, sorted
  void keep_typical(double share);
  void keep_nucleus(double share);
  void keep_above(double share_of_largest);
  void exclude_top_choices(double threshold);

  const int64_t vocab_;
  std::vector<float> scores_;   // [V] logits, then bias, mask and penalties applied
  std::vector<float> weights_;  // [V] e^((score - max) / temperature), where no candidate list is built
  std::vector<Candidate> candidates_;
  std::vector<float> span_maxima_, sorted_maxima_;  // select_largest()'s
  bool listed_ = false;                             // draw from candidates_, not from weights_
  std::vector<int32_t> counts_;                     // [V] occurrences in the output, zero between calls
  std::vector<uint8_t> seen_;                       // [V] in prompt or output, zero between calls
  std::vector<int32_t> touched_;
};

// Whether a draw is the argmax of the scores.
inline bool is_greedy(const SamplingRow& row) { return row.temperature < 1e-5f || row.top_k == 1; }

// Whether this draw is one of those that XTC applies to.
inline bool excludes_top_choices(const SamplingRow& row) {
  return row.xtc_probability > 0.0f &&
         uniform_at(row.seed, row.position, 1) < static_cast<double>(row.xtc_probability);
}
// The share that makes a token a top choice. Not less than 1e-9: which tokens hold less hangs on how
// exponentials underflow, and so on the device.
inline float top_choice_share(const SamplingRow& row) { return std::max(row.xtc_threshold, 1e-9f); }

}  // namespace qwend::cpu
