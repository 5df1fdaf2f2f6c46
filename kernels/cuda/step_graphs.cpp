#include "kernels/cuda/step_graphs.h"

#include <bit>

#include "kernels/check.h"

namespace qwend::cuda {
namespace {

// 1, 2, 4, 8, then steps of 8 to 64, of 32 beyond: padding wastes at most half of a small step and a few
// percent of a large one.
int32_t bucket_of(int32_t rows) {
  if (rows <= 8) return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(rows)));
  const int32_t step = rows <= 64 ? 8 : 32;
  return (rows + step - 1) / step * step;
}

}  // namespace

std::optional<StepShape> StepGraphs::bucket(const StepInput& input, int32_t max_tokens,
                                            int32_t max_logit_rows) {
  StepShape shape = StepShape::of(input);
  if (shape.max_seq_tokens != 1 || shape.num_logit_rows != shape.num_tokens) return std::nullopt;
  const int32_t rows = bucket_of(shape.num_tokens);
  if (rows > max_tokens || rows > max_logit_rows) return std::nullopt;
  shape.num_tokens = shape.num_seqs = shape.num_logit_rows = rows;
  // The attention grid is sized by the longest context; a power of two keeps the number of graphs small.
  shape.max_context =
      static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(std::max(shape.max_context, 512))));
  return shape;
}

StepGraphs::Plan StepGraphs::plan(uint64_t program, const StepShape& shape) {
  if (graphs_.contains(key(program, shape))) return Plan::Replay;
  return seen_.insert(key(program, shape)).second ? Plan::Run : Plan::Record;
}

void StepGraphs::replay(uint64_t program, const StepShape& shape) {
  CUDA_CHECK(cudaGraphLaunch(graphs_.at(key(program, shape)).get(), stream_));
}

void StepGraphs::begin_recording() {
  CHECK(!recording_);
  CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  recording_ = true;
}

void StepGraphs::end_recording(uint64_t program, const StepShape& shape) {
  CHECK(recording_);
  recording_ = false;
  cudaGraph_t graph = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
  const Owned<cudaGraph_t, cudaGraphDestroy> owned(graph);
  cudaGraphExec_t exec = nullptr;
  CUDA_CHECK(cudaGraphInstantiate(&exec, graph, 0));
  graphs_.emplace(key(program, shape), GraphExec(exec));
  replay(program, shape);
}

void StepGraphs::abandon_recording() noexcept {
  if (!std::exchange(recording_, false)) return;
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph != nullptr) cudaGraphDestroy(graph);
}

}  // namespace qwend::cuda
