// What a token costs at least, from the file: the numerators of the benchmark's ratios.
#pragma once
#include "engine/gguf/gguf.h"
#include "engine/model/model_config.h"

namespace qwend::cli {

class TokenCost {
 public:
  TokenCost(const gguf::File& file, const ModelConfig& config, size_t kv_bytes_per_token);

  // Bytes that a decode step of `streams` sequences with `context` tokens each reads, in the file's formats:
  // all matrices (the untied embedding is a row look-up; of experts those that the step's tokens are expected
  // to choose), keys and values.
  double decode_bytes(int streams, double context) const;
  // FLOPs of one decoded token, output matrix included.
  double decode_flops(double context) const;
  // FLOPs of one token of a prompt of `tokens`: all layers and the causal half of attention, no output
  // matrix.
  double prompt_flops(int tokens) const;

 private:
  double attention_flops(double context) const;

  ModelConfig config_;
  double kv_bytes_per_token_;
  double matrix_bytes_ = 0, expert_bytes_ = 0;           // expert_bytes_: all experts' together
  double layer_parameters_ = 0, output_parameters_ = 0;  // that a token passes through
};

}  // namespace qwend::cli
