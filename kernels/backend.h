// The op vocabulary: THE contract between the engine and the hardware.
//
// Granularity is what a GPU backend fuses into one kernel; the CPU backend does the same op in its naive
// form. One forward pass (engine/model/qwen_model.cpp) is written against this class and serves every
// Qwen variant on every backend.
//
// Conventions. T: tokens of the step, all sequences concatenated. S: sequences. D: embedding width.
// H, K: query and KV heads. hd: head width. F: feed-forward width. V: vocabulary.
// Activations are FP32, row-major [T, width]. Activation buffers are handles that belong to the backend.
// Results of a token never depend on the other tokens of the step (CPU: bit-equal alone, batched, chunked;
// CUDA: in steps of 2 to 16 tokens, in decode steps of one, and within rounding else). The same steps give
// the same bits. Threads: all calls come from the engine thread, in order; a backend may run them
// asynchronously, and only collect() and the inspection calls wait.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace qwend {

// A matrix (or a stack of expert matrices, or of concatenated matrices) where the backend wants it. Layout is
// the backend's private choice.
class DeviceMatrix {
 public:
  virtual ~DeviceMatrix() = default;
  virtual int64_t rows() const = 0;     // output width, all concatenated parts together
  virtual int64_t cols() const = 0;     // input width
  virtual int64_t experts() const = 0;  // stacked matrices of this shape; 1 for a plain one
  virtual size_t bytes() const = 0;     // device memory held
};
using Matrix = std::unique_ptr<DeviceMatrix>;

// FP32 vector on the device: norm weights, biases.
class DeviceVector {
 public:
  virtual ~DeviceVector() = default;
  virtual int64_t size() const = 0;
};
using Vector = std::unique_ptr<DeviceVector>;

// FP32 activations [max_tokens, width] on the device, taken once at start-up.
class DeviceActivation {
 public:
  virtual ~DeviceActivation() = default;
  virtual int64_t width() const = 0;
};
using Activation = std::unique_ptr<DeviceActivation>;

enum class KvDType : uint8_t { F16, F32 };

struct KvCacheSpec {
  int32_t num_layers = 0;
  int32_t num_blocks = 0;
  int32_t block_size = 16;  // tokens a block
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  KvDType dtype = KvDType::F16;
  size_t bytes_per_token() const {
    return size_t{2} * num_layers * num_kv_heads * head_dim * (dtype == KvDType::F16 ? 2 : 4);
  }
};

// Keys and values of all layers in fixed blocks. Slot s is token s % block_size of block s / block_size.
class DeviceKvCache {
 public:
  virtual ~DeviceKvCache() = default;
  virtual const KvCacheSpec& spec() const = 0;
};
using KvCachePtr = std::unique_ptr<DeviceKvCache>;

// One token's key and value of one head, and where they are: for inspection.
struct KvPlace {
  int32_t layer = 0;
  int32_t kv_head = 0;
  int32_t slot = 0;
};
struct KvRow {
  std::vector<float> key, value;  // [hd]
};

// Keys and values of a whole block, in all layers, wanted in another block too.
struct BlockCopy {
  int32_t from = 0, to = 0;
};

// Host description of one step, valid until the step's launch_sample() has returned.
// Sequence s owns tokens cu_seqlens[s] .. cu_seqlens[s+1]; decode has one token, a prefill chunk has many.
struct StepInput {
  std::span<const int32_t> tokens;        // [T]
  std::span<const int32_t> positions;     // [T] from 0
  std::span<const int32_t> slot_mapping;  // [T] KV slot each token is written to
  std::span<const int32_t> cu_seqlens;    // [S + 1]
  std::span<const int32_t> context_lens;  // [S] tokens in the cache once this step has been written
  std::span<const int32_t> block_tables;  // [S, block_table_stride] physical block of each logical block
  int32_t block_table_stride = 0;
  std::span<const int32_t> logit_rows;  // [L] rows of the step (0..T-1) whose logits are wanted, ascending
  // [T], or empty for none: r >= 0 where the token is the one that row r of the step launched before this one
  // draws (the host need not have seen it yet; tokens[t] is ignored), -1 elsewhere.
  std::span<const int32_t> token_rows = {};
  // Made in this order before the step writes anything: Backend::copy_blocks().
  std::span<const BlockCopy> block_copies = {};
  int32_t num_tokens() const { return static_cast<int32_t>(tokens.size()); }
  int32_t num_seqs() const { return static_cast<int32_t>(context_lens.size()); }
};

// Rotary angles, prepared once from the model's RoPE settings (YaRN and linear scaling folded in).
struct RopeTable {
  int32_t rotary_dim = 0;        // n_rot <= head_dim; pairs are (i, i + n_rot / 2)
  std::vector<double> inv_freq;  // [n_rot / 2] radians a position
  float magnitude = 1.0f;        // YaRN's factor on cos and sin
};

struct AttentionShape {
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  float norm_eps = 1e-6f;  // of the QK-norm
};

struct MoeShape {
  int32_t num_experts = 0;
  int32_t num_used = 0;
  int32_t expert_ffn = 0;
  bool renormalise = false;  // qwen3moe: weights of the chosen experts are divided by their sum
};

// Of the device that holds weights and cache, as it is now, with what other programs have taken.
struct DeviceMemory {
  uint64_t total = 0;  // 0: the host's memory, which is not the backend's to tell
  uint64_t free = 0;
};

// Where a step's time went on the device, in seconds. All zero: not measured.
struct StepTimes {
  double busy = 0;  // from the step's first work to its last
  double gap = 0;   // from the end of the step before it to its first work: the device had nothing to do
};

// What the steps of a model will need room for.
struct StepShapes {
  int64_t embedding = 0, ffn = 0, vocab = 0, shared_ffn = 0;  // widths; 0 where there is none
  AttentionShape attention;
  MoeShape moe;
  // What every token is multiplied by: no experts, routers or output. Must outlive reserve() alone.
  std::vector<DeviceMatrix*> matrices = {};
  // Bytes of device memory that FP16 copies of them leave free, for the KV cache and for others.
  uint64_t leave_free = 0;
};

// A GPU keeps FP16 copies of StepShapes::matrices beside block formats, for products of many rows, where all
// of them together take at most this share of the memory that is free when all but the KV cache is there:
// 13 GB of Qwen2.5-7B in 80 GB, but nothing of a model that needs the room.
inline constexpr double kHalfCopiesShare = 0.2;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string device_name() const = 0;
  virtual DeviceMemory memory() const { return {}; }

  // ---- start-up: memory and weights. Throws std::bad_alloc or LoadError-like std::runtime_error.
  // upload() copies (and may repack); the source bytes are not needed afterwards. Several parts become
  // one matrix whose rows follow each other (q,k,v; gate,up); parts may differ in format.
  virtual Matrix upload(std::span<const HostMatrix> parts) = 0;
  // Keeps rows for embed() only / for embed() and for logits (tied output) without a second copy where
  // possible.
  virtual Matrix upload_embedding(const HostMatrix& table, bool also_output) = 0;
  virtual Vector upload_vector(std::span<const float> values) = 0;
  virtual Activation allocate(int64_t width) = 0;  // [max_tokens, width]
  virtual KvCachePtr allocate_kv(const KvCacheSpec& spec) = 0;
  // Takes the memory that steps of these shapes need, so that what is left can go to the KV cache and no step
  // allocates. Weights are on the device when it returns. Without it, the first steps take what they need.
  virtual void reserve(const StepShapes& /*shapes*/) {}

  // ---- one step: begin_step, ops, logits, launch_sample; later collect.
  // program: 0, or a number that stands for one fixed sequence of op calls from here to logits(), with the
  // same weights, buffers and cache each time. A backend may record such a sequence and replay it for steps
  // of the same shape: begin_step() then returns true, the whole sequence is on its way, and the caller skips
  // its op calls.
  virtual bool begin_step(const StepInput& input, uint64_t program = 0) = 0;

  // Before begin_step() of a step with block_copies: makes them, in order. Only where copies_blocks().
  virtual bool copies_blocks() const { return false; }
  virtual void copy_blocks(DeviceKvCache& /*kv*/, std::span<const BlockCopy> /*copies*/) {
    throw std::logic_error("this backend copies no blocks");
  }

  // x[t] = table[tokens[t]]
  virtual void embed(const DeviceMatrix& table, DeviceActivation& x) = 0;

  // h = RMSNorm(x; norm); [q|k|v] = W h (+ bias); q, k RMS-normalised per head where the norms are given,
  // then rotated; k, v written to the cache at slot_mapping. q: [T, H * hd].
  struct AttnInput {
    const DeviceVector& norm;
    float eps;
    const DeviceMatrix& qkv;               // rows: H*hd + K*hd + K*hd
    const DeviceVector* bias = nullptr;    // [H*hd + 2*K*hd] or none
    const DeviceVector* q_norm = nullptr;  // [hd] or none
    const DeviceVector* k_norm = nullptr;
    const RopeTable& rope;
    AttentionShape shape;
    int32_t layer;
  };
  virtual void attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                          DeviceActivation& q) = 0;

  // out[t] = softmax(q k^T / sqrt(hd)) v over positions 0 .. positions[t] of its sequence. out: [T, H * hd].
  virtual void attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                         const DeviceKvCache& kv, DeviceActivation& out) = 0;

  // x += W in
  virtual void linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) = 0;

  // h = silu(Wg n) * (Wu n), n = RMSNorm(x; norm); gate_up rows: F gate rows then F up rows. h: [T, F].
  virtual void ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                           const DeviceActivation& x, DeviceActivation& h) = 0;

  // x += sum_j w_j down_j(silu(gate_j n) * (up_j n)) (+ shared expert), n = RMSNorm(x; norm).
  // Router in FP32: softmax over all experts, num_used largest (lowest index on a tie).
  struct MoeFfn {
    const DeviceVector& norm;
    float eps;
    const DeviceMatrix& router;   // [E rows, D]
    const DeviceMatrix& gate_up;  // E experts, each Fe gate rows then Fe up rows (or as two uploads)
    const DeviceMatrix& down;     // E experts, each D rows of Fe
    const DeviceMatrix* shared_gate_up = nullptr;  // qwen2moe's shared expert
    const DeviceMatrix* shared_down = nullptr;
    const DeviceVector* shared_gate = nullptr;  // [D]: sigmoid(g . n) scales the shared expert
    MoeShape shape;
  };
  virtual void moe_ffn(const MoeFfn& op, DeviceActivation& x) = 0;

  // Final norm and lm_head for the rows of StepInput::logit_rows; kept inside the backend for sample(),
  // read_logits().
  virtual void logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
                      const DeviceActivation& x) = 0;

  // rows[i] samples from logits row i; rows.size() <= L. Everything that rows point to may change afterwards.
  // At most max_in_flight() steps may be launched and not yet collected.
  virtual void launch_sample(std::span<const SamplingRow> rows) = 0;
  // What the oldest step launched and not yet collected has drawn. Waits for that step.
  virtual std::vector<SampledToken> collect() = 0;
  virtual int32_t max_in_flight() const {
    return 1;
  }  // 1: steps are computed in launch_sample() at the latest
  // Of the step that collect() returned last. Measured from the first call of time_steps() on.
  virtual void time_steps() {}
  virtual StepTimes last_step_times() const { return {}; }
  std::vector<SampledToken> sample(std::span<const SamplingRow> rows) {
    launch_sample(rows);
    return collect();
  }

  // ---- inspection (tests, verify, the last hidden state of pooled requests). Waits for everything launched.
  virtual std::vector<float> read_logits(int32_t row) = 0;                                    // [V]
  virtual std::vector<float> read(const DeviceActivation& a, int32_t token) = 0;              // [width]
  virtual void write(DeviceActivation& a, int32_t token, std::span<const float> values) = 0;  // [width]
  virtual std::vector<float> read(const DeviceVector& v) = 0;                                 // [size]
  // Rows as the device holds them, decoded: row r of expert e is e * rows() + r. [count, cols]
  virtual std::vector<float> read_rows(const DeviceMatrix& m, int64_t first, int64_t count) = 0;
  virtual KvRow read_kv(const DeviceKvCache& kv, const KvPlace& at) = 0;
  virtual void write_kv(DeviceKvCache& kv, const KvPlace& at, const KvRow& row) = 0;
};

// How the CPU multiplies by quantised weights. Fast: activations rounded (cpu/matmul.h), products in
// integers.
// Exact: weights expanded to FP32 at upload (4 bytes a weight), everything in FP32: the reference that the
// fast products and other backends are checked against.
enum class CpuProducts : uint8_t { Fast, Exact };

// max_tokens: the largest T a step may have; max_logit_rows: the largest L. threads 0: one a core.
std::unique_ptr<Backend> make_cpu_backend(int32_t max_tokens, int32_t max_logit_rows, int32_t threads,
                                          CpuProducts products = CpuProducts::Fast);

// A CUDA device as `--device cuda:N` names it.
struct CudaDeviceInfo {
  int32_t index = 0;
  std::string name;              // "NVIDIA H100 80GB HBM3"
  int32_t major = 0, minor = 0;  // compute capability
  uint64_t total_bytes = 0, free_bytes = 0;
};
// Usable devices (compute capability 8.0 and newer); empty without a driver, a device, or CUDA in this build.
std::vector<CudaDeviceInfo> cuda_devices();
// Throws std::runtime_error naming what is missing. All memory but weights and KV cache is taken here.
std::unique_ptr<Backend> make_cuda_backend(int32_t device, int32_t max_tokens, int32_t max_logit_rows);

}  // namespace qwend
