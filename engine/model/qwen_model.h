// The only forward pass: all Qwen variants, all backends.
#pragma once
#include <memory>
#include <vector>

#include "engine/model/layer_weights.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"

namespace qwend {

// Owns the uploaded weights and the activation buffers of one model on one backend.
// Used by the engine thread only. The backend must outlive the model; the file is not needed after
// construction.
class QwenModel {
 public:
  // Uploads all weights; progress(done_bytes, total_bytes) is called as they go. leave_free: see StepShapes.
  // Throws LoadError.
  QwenModel(const gguf::File& file, ModelConfig config, Backend& backend, UploadProgress progress = nullptr,
            void* progress_context = nullptr, uint64_t leave_free = 0);
  const ModelConfig& config() const { return config_; }
  uint64_t weight_bytes() const { return weight_bytes_; }        // as the backend holds them
  uint64_t half_copy_bytes() const { return half_copy_bytes_; }  // beside them, see kHalfCopiesShare
  // Enqueues the whole step, up to the logits of input.logit_rows; Backend::launch_sample() ends it. All
  // calls name the same cache: the backend may replay the op calls of an earlier one.
  void forward(const StepInput& input, DeviceKvCache& kv);

  // RMSNorm(x; output norm) of token row t of the last step, as the output matrix sees it: [D]. Waits for the
  // step.
  std::vector<float> hidden(int32_t t) const;

  // ---- what has been uploaded, for inspection
  const DeviceMatrix& embedding() const { return *embedding_; }
  const DeviceMatrix& output() const { return config_.tied_output ? *embedding_ : *output_; }
  const DeviceVector& output_norm() const { return *output_norm_; }
  const LayerWeights& layer(int32_t i) const { return layers_[static_cast<size_t>(i)]; }
  const RopeTable& rope() const { return rope_; }

 private:
  ModelConfig config_;
  Backend& backend_;
  RopeTable rope_;
  Matrix embedding_, output_;  // output_ is empty when tied
  Vector output_norm_;
  std::vector<float> output_norm_values_;  // [D]
  std::vector<LayerWeights> layers_;
  Activation x_, q_, attn_, h_;
  uint64_t weight_bytes_ = 0, half_copy_bytes_ = 0;
};

}  // namespace qwend
