// Stage 3: the ops of one layer. The device is given the reference's inputs for each op, so each op's error
// is its own; a run of the whole layer on the device's own residual shows how they add up.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/verify/subject.h"

namespace qwend::verify {

// What the reference computes for every token of the whole step.
struct LayerTruth {
  Rows x;                          // residual that enters the layer [T, D]
  Projections unrotated, rotated;  // before and after RoPE
  Rows attention;                  // [T, H * hd]
  Rows mid;                        // residual after attention [T, D]
  Rows hidden;                     // dense: silu(gate) * up [T, F]
  Rows out;                        // residual that leaves the layer [T, D]
};

class LayerCheck {
 public:
  // Uploads identity matrices to the device: they show a norm's output by the op that computes it.
  explicit LayerCheck(Subject& subject);

  // Checks layer i. weights: of the reference's side. x: the reference's residual; own: the device's own,
  // with the errors of all layers so far, and of this one afterwards. Returns the reference's new residual.
  Rows run(int32_t layer, const LayerWeights& weights, const Rows& x, Rows& own);

  // RMSNorm(x; norm) on the host, in FP64.
  static Rows rms_norm(const Rows& x, std::span<const float> weight, float eps);
  // The final norm, or an MoE layer's: through an output matrix that is the identity.
  void check_norm_by_logits(Stage stage, int32_t layer, const char* tensor, const DeviceVector& norm,
                            std::span<const float> weight, const Rows& x);

 private:
  LayerTruth compute_truth(const LayerWeights& weights, const Rows& x);
  std::vector<StepShape*> shapes() { return {&subject_.whole, &subject_.last}; }

  // check_projections.cpp
  void check_attn_norm(StepShape& shape, const LayerTruth& truth, std::span<const float> weight);
  void check_projections(StepShape& shape, const LayerTruth& truth, const LayerWeights& weights);
  void check_slots(StepShape& shape);
  void compare_heads(Stage stage, StepShape& shape, const Rows& got, const Rows& want, const char* tensor,
                     const std::vector<std::pair<std::string, const Rows*>>& suspects);
  void explain_rotation(Outcome& outcome, const Rows& before, const Rows& after, const Worst& worst,
                        const StepShape& shape);
  // check_attention.cpp
  KvRows write_keys_and_values(const LayerTruth& truth);
  std::vector<Rows> read_attention_weights(const KvRows& kv, const LayerTruth& truth);
  void check_attention_weights(StepShape& shape, const Rows& got, const KvRows& kv, const LayerTruth& truth);
  void check_attention_output(StepShape& shape, const KvRows& kv, const Rows& fair, const LayerTruth& truth);
  void check_attention(const LayerTruth& truth);
  // check_ffn.cpp
  void check_projection(StepShape& shape, const LayerTruth& truth);
  void check_dense_ffn(StepShape& shape, const LayerTruth& truth, std::span<const float> norm);
  std::vector<int32_t> near_ties(const Rows& router) const;
  void check_moe_ffn(StepShape& shape, const LayerTruth& truth, const Rows& router);
  void check_update(Stage stage, StepShape& shape, const char* tensor, const Rows& got, const Rows& want,
                    const Rows& before, std::span<const int32_t> skip);

  Subject& subject_;
  const ModelConfig& config_;
  std::vector<bool> torn_;  // tokens that a near tie of experts may have sent elsewhere, in any layer so far
  RopeTable unrotated_;     // all angles 0
  std::vector<Matrix> selectors_;  // query rows of number i select the norm's output from i * H * hd on
  Matrix identity_;                // [2 D, D]: D rows twice, as gate and up
  int32_t layer_ = 0;
  const LayerWeights* weights_ = nullptr;  // on the device
};

}  // namespace qwend::verify
