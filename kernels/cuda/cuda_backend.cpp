#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/matmul_large_epilogue.h"
#include "kernels/cuda/qkv_boxed.h"

namespace qwend::cuda {
namespace {

// Rows up to which the wide kernels beat the library: on block formats, which it would have to expand, and on
// FP16 matrices that are much wider than high, whose few tiles leave it most of the device idle (7B's down
// projection, 64 tokens: 440 us, the wide kernels 70).
constexpr int32_t kMaxWideBlockRows = 256, kMaxWideHalfRows = 128;
// Small matrices of block formats without a copy are expanded sooner: at 35,000 elements a row both ways take
// the same time (0.5B: QKV from 32 rows, 8 us and not 12; down from 128, 17 and not 20; gate and up from 256,
// 29 and not 36).
constexpr int64_t kExpandedElementsARow = 35'000;
// Copies of larger matrices serve more than kMaxWideBlockRows rows only: fewer rows wait for memory, of which
// a copy reads twice as much and more. (7B, 64 streams of Q4_K_M: 8,771 tokens/s without any, 10,247 with
// those of QKV and attention's output, the same with down's, 8,440 with gate and up's.)
constexpr int64_t kCopiedElements = 28'000'000;

bool same(const RopeTable& a, const RopeTable& b) {
  return a.rotary_dim == b.rotary_dim && a.magnitude == b.magnitude && a.inv_freq == b.inv_freq;
}

int32_t on_device(int32_t device) {
  CUDA_CHECK(cudaSetDevice(device));
  return device;
}

// Whether rows that are normalised with such weights are as good as FP16 without a scale of their own: no
// value exceeds sqrt(D) times the largest weight, and what is lost below FP16's normal numbers, 2^-25, is
// nothing beside the rounding of a row's other values. Scaling 256 rows of logits would take as long (105 us)
// as reading a third of a 0.5B model.
bool fits_half(const CudaVector& norm) {
  const float bound = norm.largest * std::sqrt(static_cast<float>(norm.size()));
  return norm.largest > 0x1p-6f && bound < 0x1p15f;
}

}  // namespace

CudaBackend::CudaBackend(int32_t device, int32_t max_tokens, int32_t max_logit_rows)
    : device_(on_device(device)),
      max_tokens_(max_tokens),
      max_logit_rows_(max_logit_rows),
      row_capacity_((std::max(max_tokens, max_logit_rows) + 7) / 8 * 8),
      stream_(make_stream()),
      step_buffers_(max_tokens),
      graphs_(stream_.get()),
      wide_(stream_.get()),
      large_(row_capacity_, {}, stream_.get()),
      sampler_(max_logit_rows),
      ids_(static_cast<size_t>(row_capacity_)),
      norms_(static_cast<size_t>(row_capacity_)),
      row_max_(static_cast<size_t>(row_capacity_)) {
  CHECK(max_tokens > 0 && max_logit_rows > 0);
}

CudaBackend::~CudaBackend() { cudaStreamSynchronize(stream_.get()); }

std::string CudaBackend::device_name() const {
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, device_));
  return properties.name;
}

DeviceMemory CudaBackend::memory() const {
  on_device(device_);
  size_t free_bytes = 0, total_bytes = 0;
  CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  return {total_bytes, free_bytes};
}

void CudaBackend::time_steps() {
  on_device(device_);
  for (size_t i = timers_.size(); i < kTimers; ++i) timers_.push_back({make_event(true), make_event(true)});
  steps_begun_ = steps_collected_ = 0;
}

// ---- start-up

Matrix CudaBackend::upload(std::span<const HostMatrix> parts) {
  on_device(device_);
  if (uploader_ == nullptr) uploader_ = std::make_unique<WeightUploader>(stream_.get());
  auto matrix = uploader_->upload(parts);
  decode_.uploaded(*matrix);
  return matrix;
}

// The same tiles serve look-ups and products.
Matrix CudaBackend::upload_embedding(const HostMatrix& table, bool) { return upload({&table, 1}); }

Vector CudaBackend::upload_vector(std::span<const float> v) {
  on_device(device_);
  return std::make_unique<CudaVector>(v);
}

Activation CudaBackend::allocate(int64_t width) {
  on_device(device_);
  return std::make_unique<CudaActivation>(row_capacity_, width);
}

KvCachePtr CudaBackend::allocate_kv(const KvCacheSpec& spec) {
  on_device(device_);
  auto cache = std::make_unique<CudaKvCache>(spec);
  decode_.allocated(spec);
  return cache;
}

void CudaBackend::reserve(const StepShapes& shapes) {
  on_device(device_);
  if (uploader_ != nullptr) uploader_->wait();
  uploader_.reset();
  const AttentionShape& heads = shapes.attention;
  const int64_t query = int64_t{heads.num_heads} * heads.head_dim;
  const int64_t qkv = query + 2 * int64_t{heads.num_kv_heads} * heads.head_dim;
  ensure_normed(shapes.embedding);
  ensure(qkv_, static_cast<size_t>(2 * row_capacity_ * qkv));
  attention_workspace_.reserve(max_logit_rows_, heads);
  large_.reserve(std::max({2 * shapes.ffn, 2 * shapes.shared_ffn, shapes.embedding}));
  if (shapes.moe.num_experts > 0)
    moe_.reserve(row_capacity_, shapes.moe, shapes.embedding, shapes.shared_ffn);
  if (shapes.shared_ffn > 0) {
    shared_ = std::make_unique<CudaActivation>(row_capacity_, shapes.shared_ffn);
    ensure(shared_out_, static_cast<size_t>(row_capacity_ * shapes.embedding));
  }
  ensure_logits(shapes.vocab);
  keep_half_copies(shapes.matrices, shapes.leave_free);
  for (DeviceMatrix* matrix : shapes.matrices)
    static_cast<CudaMatrix*>(matrix)->read_row_norms(stream_.get());
}

// All or none: prompts wait for the slowest of them.
void CudaBackend::keep_half_copies(std::span<DeviceMatrix* const> matrices, uint64_t leave_free) {
  uint64_t bytes = 0;
  for (const DeviceMatrix* matrix : matrices) bytes += weights(*matrix).half_copy_bytes();
  const uint64_t free = memory().free;
  if (static_cast<double>(bytes) > kHalfCopiesShare * static_cast<double>(free)) return;
  if (bytes + leave_free > free) return;
  graphs_.clear();  // they hold products that may take another way now
  for (DeviceMatrix* matrix : matrices) static_cast<CudaMatrix*>(matrix)->keep_half_copies(stream_.get());
}

template <class T>
void CudaBackend::ensure(DeviceBuffer<T>& buffer, size_t size) {
  if (buffer.size() >= size) return;
  CHECK(!graphs_.recording());
  wait();
  graphs_.clear();
  buffer = DeviceBuffer<T>::zeroed(size);
}

void CudaBackend::ensure_normed(int64_t width) {
  if (normed_width_ != width) {
    if (normed_.plane < row_capacity_ * padded_width(width)) {
      CHECK(!graphs_.recording());
      wait();
      graphs_.clear();
      normed_ = HalfBuffer(row_capacity_, width, Planes::Two);
    }
    normed_.stride = padded_width(width);
    normed_width_ = width;
  }
}

void CudaBackend::ensure_logits(int64_t vocab) {
  ensure(logits_, static_cast<size_t>((max_logit_rows_ + 7) / 8 * 8 * vocab));
  if (vocab_ != vocab) sampler_.reserve(vocab);
  vocab_ = vocab;
}

void CudaBackend::wait() const { CUDA_CHECK(cudaStreamSynchronize(stream_.get())); }

// ---- one step

bool CudaBackend::begin_step(const StepInput& input, uint64_t program) {
  on_device(device_);
  graphs_.abandon_recording();
  pending_.reset();  // of a step that was given up
  const int32_t num_tokens = input.num_tokens();
  CHECK(num_tokens > 0 && num_tokens <= max_tokens_);
  CHECK(static_cast<int32_t>(input.logit_rows.size()) <= max_logit_rows_);
  CHECK(input.cu_seqlens.size() == input.context_lens.size() + 1 && input.cu_seqlens.back() == num_tokens);
  if (uploader_ != nullptr) uploader_->wait();
  num_logit_rows_ = static_cast<int32_t>(input.logit_rows.size());
  max_position_ = *std::ranges::max_element(input.positions);

  const auto bucket = program != 0 ? StepGraphs::bucket(input, max_tokens_, max_logit_rows_) : std::nullopt;
  shape_ = bucket.value_or(StepShape::of(input));
  bool moved = step_buffers_.grow(input, shape_);
  for (Rope& rope : ropes_) moved |= max_position_ >= rope.max_positions;
  if (moved) graphs_.clear();
  const DecodePath::Plan fused = decode_.plan(program, bucket ? shape_.num_tokens : 0);
  const StepGraphs::Plan plan =
      bucket && fused == DecodePath::Plan::Ops ? graphs_.plan(program, shape_) : StepGraphs::Plan::Run;
  if (!timers_.empty())
    CUDA_CHECK(cudaEventRecord(timers_[steps_begun_++ % kTimers].begin.get(), stream_.get()));
  step_ = step_buffers_.upload(input, shape_, stream_.get());
  step_program_ = program;
  program_ = 0;
  if (fused == DecodePath::Plan::Launch) {
    launch_decode();
    return true;
  }
  switch (plan) {
    case StepGraphs::Plan::Replay:
      graphs_.replay(program, shape_);
      vocab_ = program_vocab_;
      return true;
    case StepGraphs::Plan::Record:
      program_ = program;
      graphs_.begin_recording();
      return false;
    case StepGraphs::Plan::Run: break;
  }
  return false;
}

void CudaBackend::launch_decode() {
  ensure_logits(decode_.vocab());
  resolve_tokens(step_, sampler_.drawn(), ids_.data(), stream_.get());
  decode_.launch(step_, ids_.data(), rope_angles(decode_.rope()), logits_.data(), stream_.get());
}

void CudaBackend::embed(const DeviceMatrix& table, DeviceActivation& x) {
  if (decode_.noting()) decode_.embed(weights(table));
  resolve_tokens(step_, sampler_.drawn(), ids_.data(), stream_.get());
  gather_rows(weights(table), ids_.data(), tokens(), activation(x).values.data(), x.width(), stream_.get());
  activation(x).has_values = true;
}

const float2* CudaBackend::rope_angles(const RopeTable& table) {
  auto rope = std::ranges::find_if(ropes_, [&](const Rope& r) { return same(r.table, table); });
  if (rope == ropes_.end()) rope = ropes_.insert(rope, {table, 0, {}});
  if (max_position_ >= rope->max_positions) {
    CHECK(!graphs_.recording());
    wait();
    rope->max_positions = std::max(2 * max_position_, 4096);
    rope->angles = make_rope_table_on_device(table, rope->max_positions);
  }
  return rope->angles.data();
}

// normed_ [rows, D] = RMSNorm of the given rows of x (all of the step's, or those of `index`). Rows without
// scales are the values themselves.
HalfRows CudaBackend::normalise(const DeviceVector& norm, float eps, const DeviceActivation& x,
                                const int32_t* index, int32_t rows, Planes planes, bool scaled) {
  ensure_normed(x.width());
  auto& source = const_cast<CudaActivation&>(activation(x));  // only what is pending is added
  Addend addend;
  if (pending_ && pending_->to == &source && index == nullptr) addend = std::exchange(pending_, {})->sums;
  settle();
  HalfRowsOut out = normed_.out();
  if (planes == Planes::One) out.low = nullptr;
  if (!scaled) out.scale = nullptr;
  out.norm = norms_.data();
  rms_norm(source.values.data(), x.width(), index, rows, values(norm), eps, out, stream_.get(), addend);
  return {out.rows, out.scale, out.stride, out.low, out.norm};
}

void CudaBackend::settle() {
  if (!pending_) return;
  const auto [to, sums] = *std::exchange(pending_, {});
  add_rows({const_cast<float*>(sums.data), sums.stride}, to->width(), tokens(), sums.scale,
           {to->values.data(), to->width()}, stream_.get());
}

CudaBackend::Product CudaBackend::product_for(const CudaMatrix& w, int32_t rows, Epilogue epilogue) {
  const auto is = [](DType dtype) { return [=](const WeightPart& p) { return p.dtype == dtype; }; };
  const bool exact =
      std::ranges::all_of(w.parts(), is(DType::F32));  // routers stay FP32 for any number of rows
  if (skinny_serves(w, epilogue) && (exact || rows <= kFewRows)) return Product::Skinny;
  const int64_t elements = w.rows() * w.cols();
  const bool half = std::ranges::any_of(w.parts(), [&](const WeightPart& p) {
    return p.dtype == DType::F16 || (p.half_copy != nullptr && elements <= kCopiedElements);
  });
  const int32_t most = half ? (w.cols() > 2 * w.rows() ? kMaxWideHalfRows : 0)
                       : elements <= kExpandedElementsARow * rows ? 0
                                                                  : kMaxWideBlockRows;
  return rows <= most && WideMatmul::serves(w, epilogue) ? Product::Wide : Product::Large;
}

void CudaBackend::matmul(const CudaMatrix& w, const HalfRows& in, int32_t rows, Epilogue epilogue,
                         const MatmulOut& out) {
  switch (product_for(w, rows, epilogue)) {
    case Product::Wide: return wide_.run(w, in, rows, epilogue, out);
    case Product::Large: return large_.run(w, in, rows, epilogue, out);
    case Product::Skinny: break;
  }
  for (int32_t first = 0; first < rows; first += kMaxSkinnyRows) {
    const MatmulOut to{out.data + first * out.stride, out.stride,
                       out.row_max != nullptr ? out.row_max + first : nullptr};
    matmul_skinny(w, in.from(first), std::min(kMaxSkinnyRows, rows - first), epilogue, to, stream_.get());
  }
}

// op.qkv is yet to be given.
void CudaBackend::queries_keys_values(const CudaMatrix& w, const HalfRows& in, QkvFinish op,
                                      const KvLayer& kv, float* q) {
  const int64_t width = w.rows();
  ensure(qkv_, static_cast<size_t>(2 * row_capacity_ * width));
  const bool large = product_for(w, tokens(), Epilogue::Store) == Product::Large;
  if (large && boxed_qkv_serves(op, kv)) {
    if (const auto rows = large_.boxed_rows(w, tokens())) {
      return boxed_qkv(*rows, in, op, step_, kv, q, stream_.get());
    }
  }
  float* const low = large ? qkv_.data() + row_capacity_ * width : nullptr;
  matmul(w, in, tokens(), Epilogue::Store, {.data = qkv_.data(), .stride = width, .low = low});
  op.qkv = qkv_.data(), op.qkv_low = low;
  finish_qkv(op, step_, kv, q, stream_.get());
}

void CudaBackend::attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                             DeviceActivation& q) {
  if (decode_.noting()) {
    decode_.attn_input(
        {values(op.norm), op.eps, weights(op.qkv), values_or_null(op.bias), values_or_null(op.q_norm),
         values_or_null(op.k_norm), op.shape, layer_of(kv, op.layer)},
        op.rope);
  }
  const float2* const angles = rope_angles(op.rope);
  // Scores are differences of large sums: FP16's 11 bits of the input alone move them too far.
  const HalfRows normed = normalise(op.norm, op.eps, x, nullptr, tokens(), Planes::Two);
  const QkvFinish finish{.qkv = nullptr,
                         .scale = normed.scale,
                         .bias = values_or_null(op.bias),
                         .q_norm = values_or_null(op.q_norm),
                         .k_norm = values_or_null(op.k_norm),
                         .norm_eps = op.shape.norm_eps,
                         .rope = angles,
                         .rotary_dim = op.rope.rotary_dim,
                         .shape = op.shape};
  queries_keys_values(weights(op.qkv), normed.unscaled(), finish, layer_of(kv, op.layer),
                      activation(q).values.data());
  activation(q).has_values = true, activation(q).has_half = false;
}

void CudaBackend::attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                            const DeviceKvCache& kv, DeviceActivation& out) {
  attention_workspace_.reserve(std::max(max_logit_rows_, step_.num_seqs), shape);
  CudaActivation& to = activation(out);
  const KvLayer cache = layer_of(kv, layer);
  const AttentionOut rows{to.half.rows.data(), to.half.stride, to.values.data()};
  cuda::attention(shape, step_, cache, activation(q).values.data(), attention_workspace_, rows,
                  stream_.get());
  to.has_values = cache.precise(), to.has_half = !cache.precise(), to.scaled = false;
}

// The rows as a product reads them.
HalfRows CudaBackend::half_rows(const CudaActivation& a) {
  if (!a.has_half) {
    auto& rounded = const_cast<CudaActivation&>(a);  // a second form of the same values
    round_rows(a.values.data(), a.width(), tokens(), nullptr, rounded.half.out(), stream_.get());
    rounded.has_half = rounded.scaled = true;
  }
  HalfRows rows = a.half.in();
  if (!a.scaled) rows.scale = nullptr;
  return rows;
}

void CudaBackend::linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) {
  if (decode_.noting()) decode_.linear_residual(weights(w));
  settle();
  const HalfRows rows = half_rows(activation(in));
  const bool waits = rows.scale != nullptr && x.width() % 4 == 0 &&
                     product_for(weights(w), tokens(), Epilogue::Add) == Product::Large;
  if (waits) {
    if (const auto sums = large_.sums(weights(w), rows, tokens())) {
      pending_ = {&activation(x), *sums};
      return;
    }
  }
  matmul(weights(w), rows, tokens(), Epilogue::Add, {activation(x).values.data(), x.width(), nullptr});
}

void CudaBackend::swiglu(const CudaMatrix& gate_up, const HalfRows& in, int32_t rows, CudaActivation& h) {
  h.has_half = h.scaled = true;
  h.has_values = product_for(gate_up, rows, Epilogue::SwiGlu) == Product::Skinny;
  if (!h.has_values) return matmul(gate_up, in, rows, Epilogue::SwiGlu, {.half = h.half.out()});
  CUDA_CHECK(
      cudaMemsetAsync(row_max_.data(), 0, static_cast<size_t>(rows) * sizeof(uint32_t), stream_.get()));
  matmul(gate_up, in, rows, Epilogue::SwiGlu, {h.values.data(), h.width(), row_max_.data()});
  round_rows(h.values.data(), h.width(), rows, row_max_.data(), h.half.out(), stream_.get());
}

void CudaBackend::ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                              const DeviceActivation& x, DeviceActivation& h) {
  if (decode_.noting()) decode_.gate_up(values(norm), eps, weights(gate_up));
  swiglu(weights(gate_up), normalise(norm, eps, x, nullptr, tokens(), Planes::One), tokens(), activation(h));
}

void CudaBackend::moe_ffn(const MoeFfn& op, DeviceActivation& x) {
  CHECK(!decode_.noting());  // experts are matrices that the path does not serve
  const MoeShape& shape = op.shape;
  CudaActivation& residual = activation(x);
  const int32_t num_pairs = tokens() * shape.num_used;
  if (moe_.router.size() == 0) {
    CHECK(!graphs_.recording());
    moe_.reserve(row_capacity_, shape, x.width(), op.shared_down != nullptr ? op.shared_down->cols() : 0);
  }
  // The choice of experts must not hang on rounding; the experts themselves read one plane.
  const HalfRows normed = normalise(op.norm, op.eps, x, nullptr, tokens(), Planes::Two);
  matmul(weights(op.router), normed, tokens(), Epilogue::Store,
         {moe_.router.data(), shape.num_experts, nullptr});
  route_tokens(shape, tokens(), moe_, stream_.get());

  const ExpertPairs pairs{moe_.offsets.data(), moe_.input_rows.data(), moe_.output_rows.data(),
                          shape.num_experts, num_pairs};
  CUDA_CHECK(cudaMemsetAsync(moe_.row_max.data(), 0, static_cast<size_t>(num_pairs) * sizeof(uint32_t),
                             stream_.get()));
  matmul_experts(weights(op.gate_up), normed.high_plane(), pairs, Epilogue::SwiGlu,
                 {moe_.gate_up.data(), shape.expert_ffn, moe_.row_max.data()}, stream_.get());
  const HalfRowsOut hidden{moe_.half.data(), moe_.half_scale.data(), padded_width(shape.expert_ffn)};
  round_rows(moe_.gate_up.data(), shape.expert_ffn, num_pairs, moe_.row_max.data(), hidden, stream_.get());
  const ExpertPairs again{moe_.offsets.data(), moe_.output_rows.data(), moe_.output_rows.data(),
                          shape.num_experts, num_pairs};
  matmul_experts(weights(op.down), {hidden.rows, hidden.scale, hidden.stride}, again, Epilogue::Store,
                 {moe_.down.data(), x.width(), nullptr}, stream_.get());
  combine_experts(shape, tokens(), x.width(), moe_, residual.values.data(), stream_.get());
  if (op.shared_gate_up != nullptr) add_shared_expert(op, normed, residual);
}

void CudaBackend::add_shared_expert(const MoeFfn& op, const HalfRows& normed, CudaActivation& x) {
  const int64_t ffn = op.shared_down->cols();
  if (shared_ == nullptr || shared_->width() != ffn) {
    CHECK(!graphs_.recording());
    shared_ = std::make_unique<CudaActivation>(row_capacity_, ffn);
  }
  ensure(shared_out_, static_cast<size_t>(row_capacity_ * x.width()));
  ensure(moe_.shared_weight, static_cast<size_t>(row_capacity_));
  shared_expert_gate(values_or_null(op.shared_gate), normed, x.width(), tokens(), moe_.shared_weight.data(),
                     stream_.get());
  swiglu(weights(*op.shared_gate_up), normed.high_plane(), tokens(), *shared_);
  matmul(weights(*op.shared_down), half_rows(*shared_), tokens(), Epilogue::Store,
         {shared_out_.data(), x.width(), nullptr});
  add_scaled_rows(shared_out_.data(), moe_.shared_weight.data(), x.width(), tokens(), x.values.data(),
                  stream_.get());
}

void CudaBackend::logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
                         const DeviceActivation& x) {
  if (decode_.noting()) decode_.logits(values(norm), eps, weights(output));
  settle();
  if (step_.num_logit_rows > 0) {
    ensure_logits(output.rows());
    if (step_program_ != 0) program_vocab_ = vocab_;
    // Log-probabilities come from here directly. Few rows: the product reads weights, a second plane is
    // cheap.
    const Planes planes = step_.num_logit_rows <= kFewRows ? Planes::Two : Planes::One;
    const bool scaled = planes == Planes::Two || !fits_half(vector(norm));
    const HalfRows normed = normalise(norm, eps, x, step_.logit_rows, step_.num_logit_rows, planes, scaled);
    matmul(weights(output), normed, step_.num_logit_rows, Epilogue::Store, {logits_.data(), vocab_, nullptr});
  }
  if (program_ != 0) graphs_.end_recording(std::exchange(program_, 0), shape_);
}

void CudaBackend::launch_sample(std::span<const SamplingRow> rows) {
  CHECK(static_cast<int32_t>(rows.size()) <= num_logit_rows_);
  sampler_.launch(logits_.data(), vocab_, rows, stream_.get());
  if (!timers_.empty())
    CUDA_CHECK(cudaEventRecord(timers_[(steps_begun_ - 1) % kTimers].end.get(), stream_.get()));
}

std::vector<SampledToken> CudaBackend::collect() {
  std::vector<SampledToken> drawn = sampler_.collect();
  if (timers_.empty()) return drawn;
  const Timer& step = timers_[steps_collected_ % kTimers];
  CUDA_CHECK(cudaEventSynchronize(step.end.get()));
  const auto seconds = [](const Event& from, const Event& to) {
    float milliseconds = 0;
    CUDA_CHECK(cudaEventElapsedTime(&milliseconds, from.get(), to.get()));
    return static_cast<double>(milliseconds) * 1e-3;
  };
  last_times_ = {seconds(step.begin, step.end), 0};
  if (steps_collected_ > 0)
    last_times_.gap = seconds(timers_[(steps_collected_ - 1) % kTimers].end, step.begin);
  ++steps_collected_;
  return drawn;
}

}  // namespace qwend::cuda
