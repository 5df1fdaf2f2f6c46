// The CUDA backend: kernels/backend.h by the kernels of this folder. This class only dispatches.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/decode_path.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/handles.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_wide.h"
#include "kernels/cuda/moe.h"
#include "kernels/cuda/sampler.h"
#include "kernels/cuda/step_buffers.h"
#include "kernels/cuda/step_graphs.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

// All work goes to one stream; only collect() and the inspection calls wait. A token's result is the same
// bits in any step of at most 16 tokens, except that a decode step of one token is one kernel where the model
// allows it: that one sums in orders of its own, differs by rounding, and leaves no activations behind.
// Larger steps differ by rounding.
class CudaBackend final : public Backend {
 public:
  // Throws CudaError when the device can't be used.
  CudaBackend(int32_t device, int32_t max_tokens, int32_t max_logit_rows);
  ~CudaBackend() override;
  std::string device_name() const override;
  DeviceMemory memory() const override;
  int32_t max_in_flight() const override { return DeviceSampler::kMaxInFlight; }
  void time_steps() override;
  StepTimes last_step_times() const override { return last_times_; }

  Matrix upload(std::span<const HostMatrix> parts) override;
  Matrix upload_embedding(const HostMatrix& table, bool also_output) override;
  Vector upload_vector(std::span<const float> values) override;
  Activation allocate(int64_t width) override;
  KvCachePtr allocate_kv(const KvCacheSpec& spec) override;
  void reserve(const StepShapes& shapes) override;

  bool begin_step(const StepInput& input, uint64_t program) override;
  void embed(const DeviceMatrix& table, DeviceActivation& x) override;
  void attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                  DeviceActivation& q) override;
  void attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                 const DeviceKvCache& kv, DeviceActivation& out) override;
  void linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) override;
  void ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                   const DeviceActivation& x, DeviceActivation& h) override;
  void moe_ffn(const MoeFfn& op, DeviceActivation& x) override;
  void logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
              const DeviceActivation& x) override;
  void launch_sample(std::span<const SamplingRow> rows) override;
  std::vector<SampledToken> collect() override;

  std::vector<float> read_logits(int32_t row) override;
  std::vector<float> read(const DeviceActivation& a, int32_t token) override;
  void write(DeviceActivation& a, int32_t token, std::span<const float> values) override;
  std::vector<float> read(const DeviceVector& v) override;
  std::vector<float> read_rows(const DeviceMatrix& m, int64_t first, int64_t count) override;
  KvRow read_kv(const DeviceKvCache& kv, const KvPlace& at) override;
  void write_kv(DeviceKvCache& kv, const KvPlace& at, const KvRow& row) override;

 private:
  // A device table of angles for each RopeTable seen.
  struct Rope {
    RopeTable table;
    int32_t max_positions;
    DeviceBuffer<float2> angles;
  };

  // Around the work of a step, when steps are timed.
  struct Timer {
    Event begin, end;
  };
  static constexpr size_t kTimers = DeviceSampler::kMaxInFlight + 2;  // one more ended step, one that begins

  int32_t tokens() const { return step_.num_tokens; }
  void launch_decode();  // the step as one kernel
  void keep_half_copies(std::span<DeviceMatrix* const> matrices, uint64_t leave_free);
  // Grows scratch; never while a step is recorded.
  template <class T>
  void ensure(DeviceBuffer<T>& buffer, size_t size);
  void ensure_normed(int64_t width);
  void ensure_logits(int64_t vocab);
  const float2* rope_angles(const RopeTable& table);
  HalfRows normalise(const DeviceVector& norm, float eps, const DeviceActivation& x, const int32_t* index,
                     int32_t rows, Planes planes, bool scaled = true);
  enum class Product : uint8_t { Skinny, Wide, Large };  // by what kernels
  static Product product_for(const CudaMatrix& w, int32_t rows, Epilogue epilogue);
  void matmul(const CudaMatrix& w, const HalfRows& in, int32_t rows, Epilogue epilogue, const MatmulOut& out);
  HalfRows half_rows(const CudaActivation& a);
  void settle();  // adds what is pending
  void queries_keys_values(const CudaMatrix& w, const HalfRows& in, QkvFinish op, const KvLayer& kv,
                           float* q);
  void swiglu(const CudaMatrix& gate_up, const HalfRows& in, int32_t rows, CudaActivation& h);
  void add_shared_expert(const MoeFfn& op, const HalfRows& normed, CudaActivation& x);
  void wait() const;

  const int32_t device_, max_tokens_, max_logit_rows_;
  const int32_t row_capacity_;  // of buffers with a row a token or logit row; a multiple of 8
  Stream stream_;
  std::unique_ptr<WeightUploader> uploader_;  // while weights come
  StepBuffers step_buffers_;
  StepGraphs graphs_;
  WideMatmul wide_;
  LargeMatmul large_;
  DeviceSampler sampler_;
  AttentionWorkspace attention_workspace_;
  MoeBuffers moe_;
  std::vector<Rope> ropes_;
  DecodePath decode_;
  HalfBuffer normed_;
  int64_t normed_width_ = 0;
  // Sums of a prompt's down projection wait for the norm that reads them anyway.
  struct Pending {
    CudaActivation* to;
    Addend sums;
  };
  std::optional<Pending> pending_;
  DeviceBuffer<float> qkv_;                 // two of [T, (H + 2K) hd]: of the input's planes
  DeviceBuffer<int32_t> ids_;               // [T]
  DeviceBuffer<float> norms_;               // [T] of the rows in normed_
  DeviceBuffer<uint32_t> row_max_;          // [T]
  std::unique_ptr<CudaActivation> shared_;  // the shared expert's hidden rows
  DeviceBuffer<float> shared_out_;
  DeviceBuffer<float> logits_;  // [L, V]
  int64_t vocab_ = 0;

  DeviceStep step_{};
  StepShape shape_;
  uint64_t step_program_ = 0;  // that the caller named
  int64_t program_vocab_ = 0;  // width of the logits of such steps, which a replayed one finds again
  uint64_t program_ = 0;       // of the step that is being recorded
  std::vector<Timer> timers_;  // [kTimers], or none
  size_t steps_begun_ = 0, steps_collected_ = 0;
  StepTimes last_times_;
  int32_t num_logit_rows_ = 0, max_position_ = 0;  // of the step itself, without padding
};

}  // namespace qwend::cuda
