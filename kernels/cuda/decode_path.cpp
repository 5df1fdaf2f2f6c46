#include "kernels/cuda/decode_path.h"

#include "kernels/check.h"

namespace qwend::cuda {

void DecodePath::allocated(const KvCacheSpec& cache) {
  cache_served_ = DecodeProgram::serves(cache);
  program_.reset();
}

DecodePath::Plan DecodePath::plan(uint64_t program, int32_t rows) {
  noting_ = false;
  if (program == 0 || rows != 1 || !matrices_served_ || !cache_served_) return Plan::Ops;
  if (program_ != nullptr && program_->complete()) {
    return program_id_ == program && program_->fits() ? Plan::Launch : Plan::Ops;
  }
  program_ = std::make_unique<DecodeProgram>();
  program_id_ = program;
  noting_ = true, attention_noted_ = false;
  return Plan::Note;
}

DecodeProgram& DecodePath::note() {
  CHECK(noting_);
  return *program_;
}

void DecodePath::attn_input(const DecodeProgram::AttnInput& op, const RopeTable& rope) {
  if (!DecodeProgram::serves(op.shape, rope)) {
    noting_ = matrices_served_ = false;
    return;
  }
  rope_ = rope;
  note().attn_input(op);
  attention_noted_ = false;
}

void DecodePath::linear_residual(const CudaMatrix& w) {
  attention_noted_ ? note().down(w) : note().attn_output(w);
  attention_noted_ = true;
}

void DecodePath::logits(const float* norm, float eps, const CudaMatrix& w) {
  note().logits(norm, eps, w);
  vocab_ = w.rows();
  noting_ = false;
}

void DecodePath::launch(const DeviceStep& step, const int32_t* id, const float2* rope_angles, float* logits,
                        cudaStream_t stream) {
  gather_rows(*table_, id, 1, program_->embedding(), table_->cols(), stream);
  program_->launch(step, rope_angles, logits, stream);
}

}  // namespace qwend::cuda
