// Decode steps of one token as one kernel (decode_program.h), and how its program comes about: the first such
// step's ops are noted as they run.
#pragma once
#include <memory>

#include "kernels/cuda/decode_program.h"

namespace qwend::cuda {

// One model with one KV cache at a time. One thread.
class DecodePath {
 public:
  // Every matrix of the model; one that the kernel can't multiply by (experts, FP32) rules it out.
  void uploaded(const CudaMatrix& w) { matrices_served_ &= DecodeProgram::serves(w); }
  // Programs hold the cache's addresses.
  void allocated(const KvCacheSpec& cache);

  enum class Plan : uint8_t {
    Ops,     // not for this path
    Note,    // the caller runs its ops and has them noted, up to logits()
    Launch,  // the program is there
  };
  // rows: of the step, padding included; 0 where it is no recordable decode. One row is what the path serves.
  Plan plan(uint64_t program, int32_t rows);

  bool noting() const { return noting_; }
  void embed(const CudaMatrix& table) { table_ = &table; }
  // A model that is not for this path after all is no longer noted.
  void attn_input(const DecodeProgram::AttnInput& op, const RopeTable& rope);
  void linear_residual(const CudaMatrix& w);
  void gate_up(const float* norm, float eps, const CudaMatrix& w) { note().gate_up(norm, eps, w); }
  void logits(const float* norm, float eps, const CudaMatrix& w);

  // What has been noted, for launch().
  const RopeTable& rope() const { return rope_; }
  int64_t vocab() const { return vocab_; }
  // id: the token, resolved. logits: [vocab()].
  void launch(const DeviceStep& step, const int32_t* id, const float2* rope_angles, float* logits,
              cudaStream_t stream);

 private:
  DecodeProgram& note();

  bool matrices_served_ = true, cache_served_ = false, noting_ = false;
  bool attention_noted_ = false;  // of the layer that is being noted: its next residual product is the FFN's
  uint64_t program_id_ = 0;
  std::unique_ptr<DecodeProgram> program_;
  const CudaMatrix* table_ = nullptr;
  RopeTable rope_;
  int64_t vocab_ = 0;
};

}  // namespace qwend::cuda
