// Decode steps recorded once and replayed: one launch in place of hundreds.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "kernels/cuda/resources.h"
#include "kernels/cuda/step_buffers.h"

namespace qwend::cuda {

// Recorded op sequences by program and shape. A shape is recorded the second time it comes: by then every
// buffer has its size, and shapes that come once cost nothing extra. One thread, one stream.
class StepGraphs {
 public:
  explicit StepGraphs(cudaStream_t stream) : stream_(stream) {}

  // The shape to launch a step with: padded to a bucket when it is a pure decode, so that few graphs serve
  // all. None for a step that is not recorded.
  static std::optional<StepShape> bucket(const StepInput& input, int32_t max_tokens, int32_t max_logit_rows);

  enum class Plan { Run, Record, Replay };
  Plan plan(uint64_t program, const StepShape& shape);
  void replay(uint64_t program, const StepShape& shape);
  void begin_recording();
  void end_recording(uint64_t program, const StepShape& shape);  // and runs what was recorded
  void abandon_recording() noexcept;                             // after a failure
  bool recording() const { return recording_; }
  void clear() { graphs_.clear(), seen_.clear(); }

 private:
  using Key = std::tuple<uint64_t, int32_t, int32_t>;  // program, tokens, context
  static Key key(uint64_t program, const StepShape& shape) {
    return {program, shape.num_tokens, shape.max_context};
  }
  cudaStream_t stream_;
  std::set<Key> seen_;
  std::map<Key, GraphExec> graphs_;
  bool recording_ = false;
};

}  // namespace qwend::cuda
