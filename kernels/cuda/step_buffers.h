// The way of a step's arrays to the device.
#pragma once
#include <array>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/step.h"

namespace qwend::cuda {

// How many rows the kernels of a step are launched for: the step's own numbers, or larger ones, the rest
// being padding.
struct StepShape {
  int32_t num_tokens = 0, num_seqs = 0, num_logit_rows = 0;
  int32_t max_context = 0, max_seq_tokens = 0, min_seq_tokens = 0;  // as in DeviceStep
  static StepShape of(const StepInput& input);
};

// One copy a step, from page-locked memory that is reused when the copy has been made. Device addresses
// depend on the shape alone, until grow() moves them. One thread, one stream.
class StepBuffers {
 public:
  explicit StepBuffers(int32_t max_tokens);
  // Makes room for the step; true when addresses given out before are no longer valid.
  bool grow(const StepInput& input, const StepShape& shape);
  // Enqueues the copy. The input may change afterwards.
  DeviceStep upload(const StepInput& input, const StepShape& shape, cudaStream_t stream);

 private:
  static constexpr size_t kRing = 3;
  struct Slot {
    PinnedBuffer<int32_t> host;
    Event copied = make_event();
  };
  std::array<Slot, kRing> ring_;
  size_t next_ = 0;
  DeviceBuffer<int32_t> device_;
};

}  // namespace qwend::cuda
