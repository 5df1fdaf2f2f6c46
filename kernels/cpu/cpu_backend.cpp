#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/vector_ops.h"
#include "kernels/quant/formats.h"

namespace qwend::cpu {

namespace {
const PackedMatrix& packed(const DeviceMatrix& m) { return static_cast<const CpuMatrix&>(m).packed; }
const float* values(const DeviceVector& v) { return static_cast<const CpuVector&>(v).values.data(); }
CpuActivation& activation(DeviceActivation& a) { return static_cast<CpuActivation&>(a); }
const CpuActivation& activation(const DeviceActivation& a) { return static_cast<const CpuActivation&>(a); }

constexpr int64_t kRowGrain = 4;  // rows a thread takes at once in work that is about a microsecond a row
}  // namespace

CpuBackend::CpuBackend(int32_t max_tokens, int32_t max_logit_rows, int32_t threads, CpuProducts products)
    : max_tokens_(max_tokens),
      max_logit_rows_(max_logit_rows),
      products_(products),
      pool_(threads),
      matmul_(pool_) {
  CHECK(max_tokens > 0 && max_logit_rows > 0);
  samplers_.resize(static_cast<size_t>(pool_.size()));
}

std::string CpuBackend::device_name() const {
  return "CPU, " + std::to_string(pool_.size()) + " threads, " + vector_ops().name;
}

// ---- start-up

Matrix CpuBackend::upload(std::span<const HostMatrix> parts) {
  if (products_ == CpuProducts::Fast) return std::make_unique<CpuMatrix>(PackedMatrix::pack(parts, pool_));
  std::vector<HostMatrix> expanded(parts.begin(), parts.end());
  std::vector<FloatBuffer> values(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t elements = parts[i].rows * parts[i].cols * parts[i].experts;
    values[i].reserve(elements);
    dequantize(parts[i].dtype, parts[i].data, values[i].data(), elements);
    expanded[i].data = reinterpret_cast<const std::byte*>(values[i].data());
    expanded[i].dtype = DType::F32;
  }
  return std::make_unique<CpuMatrix>(PackedMatrix::pack(expanded, pool_));
}

Matrix CpuBackend::upload_embedding(const HostMatrix& table, bool) {
  return upload({&table, 1});  // the packed form serves look-ups and products alike
}

Vector CpuBackend::upload_vector(std::span<const float> v) { return std::make_unique<CpuVector>(v); }

Activation CpuBackend::allocate(int64_t width) { return std::make_unique<CpuActivation>(max_tokens_, width); }

KvCachePtr CpuBackend::allocate_kv(const KvCacheSpec& spec) { return std::make_unique<CpuKvCache>(spec); }

// ---- one step

void CpuBackend::copy_blocks(DeviceKvCache& kv, std::span<const BlockCopy> copies) {
  for (const BlockCopy& copy : copies) static_cast<CpuKvCache&>(kv).copy_block(copy.from, copy.to);
}

// Nothing is recorded: a call costs next to nothing here.
bool CpuBackend::begin_step(const StepInput& input, uint64_t /*program*/) {
  const size_t tokens = input.tokens.size(), seqs = input.context_lens.size();
  CHECK(tokens > 0 && tokens <= static_cast<size_t>(max_tokens_));
  CHECK(input.positions.size() == tokens && input.slot_mapping.size() == tokens);
  CHECK(input.cu_seqlens.size() == seqs + 1 && input.cu_seqlens[0] == 0);
  CHECK(input.cu_seqlens[seqs] == static_cast<int32_t>(tokens));
  CHECK(input.block_tables.size() >= seqs * static_cast<size_t>(input.block_table_stride));
  CHECK(input.logit_rows.size() <= static_cast<size_t>(max_logit_rows_));
  CHECK(input.token_rows.empty());  // one step at a time: every token is known
  for (size_t s = 0; s < seqs; ++s) {
    const auto begin = static_cast<size_t>(input.cu_seqlens[s]),
               end = static_cast<size_t>(input.cu_seqlens[s + 1]);
    CHECK(begin < end && end <= tokens);
    CHECK(input.positions[begin] >= 0 && input.positions[end - 1] + 1 == input.context_lens[s]);
    CHECK(input.positions[end - 1] - input.positions[begin] == static_cast<int32_t>(end - begin) - 1);
  }
  input_ = input;
  angles_of_ = nullptr;
  plan_.clear();
  return false;
}

void CpuBackend::embed(const DeviceMatrix& table, DeviceActivation& x) {
  pool_.parallel_for(tokens(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      packed(table).dequantize_row(input_.tokens[static_cast<size_t>(t)], activation(x).row(t));
    }
  });
}

// All rows of x, normalised on their way into a product.
InputRows CpuBackend::normed_rows(const DeviceActivation& x, const DeviceVector& norm, float eps) const {
  return {activation(x).row(0), x.width(), input_.num_tokens(), nullptr, values(norm), eps};
}

// The same once for several products, in normed_.
void CpuBackend::normalise(const DeviceVector& norm, float eps, const CpuActivation& x) {
  normed_.reserve(int64_t{max_tokens_} * x.width());
  pool_.parallel_for(tokens(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      vector_ops().rms_norm(x.row(t), values(norm), eps, x.width(), normed_.data() + t * x.width());
    }
  });
}

void CpuBackend::attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                            DeviceActivation& q) {
  if (angles_of_ != &op.rope) {
    angles_.prepare(op.rope, input_.positions, pool_);
    angles_of_ = &op.rope;
  }
  const int64_t width = packed(op.qkv).rows();
  qkv_.reserve(max_tokens_ * width);
  matmul_.run(packed(op.qkv), normed_rows(x, op.norm, op.eps), {qkv_.data(), width}, Epilogue::Store);
  pool_.parallel_for(tokens(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      finish_qkv(op, static_cast<int32_t>(t), static_cast<CpuKvCache&>(kv), activation(q).row(t));
    }
  });
}

// Bias, QK-norm and rotation of token t; its keys and values go to the cache, its queries to q.
void CpuBackend::finish_qkv(const AttnInput& op, int32_t t, CpuKvCache& kv, float* q) {
  const VectorOps& ops = vector_ops();
  const auto& [heads, kv_heads, head_dim, norm_eps] = op.shape;
  const int64_t width = packed(op.qkv).rows();
  float* row = qkv_.data() + t * width;
  if (op.bias != nullptr) ops.add(values(*op.bias), width, row);
  for (int32_t head = 0; head < heads + kv_heads; ++head) {
    float* x = row + int64_t{head} * head_dim;
    const DeviceVector* norm = head < heads ? op.q_norm : op.k_norm;
    if (norm != nullptr) ops.rms_norm(x, values(*norm), norm_eps, head_dim, x);
    angles_.rotate(t, x);
  }
  std::copy_n(row, int64_t{heads} * head_dim, q);
  const float* keys = row + int64_t{heads} * head_dim;
  const float* vals = keys + int64_t{kv_heads} * head_dim;
  for (int32_t head = 0; head < kv_heads; ++head) {
    kv.write(op.layer, head, input_.slot_mapping[static_cast<size_t>(t)], keys + head * head_dim,
             vals + head * head_dim);
  }
}

void CpuBackend::attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                           const DeviceKvCache& kv, DeviceActivation& out) {
  if (!plan_.built()) plan_.build(input_, shape);
  plan_.run(input_, layer, activation(q).row(0), static_cast<const CpuKvCache&>(kv), activation(out).row(0),
            pool_);
}

void CpuBackend::linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) {
  matmul_.run(packed(w), {activation(in).row(0), in.width(), input_.num_tokens()},
              {activation(x).row(0), x.width()}, Epilogue::Add);
}

void CpuBackend::ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                             const DeviceActivation& x, DeviceActivation& h) {
  matmul_.run(packed(gate_up), normed_rows(x, norm, eps), {activation(h).row(0), h.width()},
              Epilogue::SwiGlu);
}

void CpuBackend::moe_ffn(const MoeFfn& op, DeviceActivation& x) {
  CpuActivation& residual = activation(x);
  const MoeShape& shape = op.shape;
  const auto used = static_cast<size_t>(shape.num_used), experts = static_cast<size_t>(shape.num_experts);
  normalise(op.norm, op.eps, residual);
  router_.reserve(int64_t{max_tokens_} * shape.num_experts);
  matmul_.run(packed(op.router), {normed_.data(), x.width(), input_.num_tokens()},
              {router_.data(), shape.num_experts}, Epilogue::Store);
  choices_.resize(static_cast<size_t>(tokens()) * used);
  pool_.parallel_for(tokens(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (auto t = static_cast<size_t>(begin); t < static_cast<size_t>(end); ++t) {
      choose_experts({router_.data() + t * experts, experts}, shape, {&choices_[t * used], used});
    }
  });
  batches_.build(choices_, shape.num_used, shape.num_experts);

  // Experts in ascending order, so each token adds up its experts in an order of its own.
  expert_.reserve(int64_t{max_tokens_} * shape.expert_ffn);
  for (int32_t e = 0; e < shape.num_experts; ++e) {
    const std::span<const int32_t> rows = batches_.tokens(e);
    if (rows.empty()) continue;
    const auto count = static_cast<int32_t>(rows.size());
    matmul_.run(packed(op.gate_up), {normed_.data(), x.width(), count, rows.data()},
                {expert_.data(), shape.expert_ffn}, Epilogue::SwiGlu, e);
    matmul_.run(packed(op.down), {expert_.data(), shape.expert_ffn, count},
                {residual.row(0), x.width(), rows.data()}, Epilogue::AddScaled, e,
                batches_.weights(e).data());
  }
  if (op.shared_gate_up != nullptr) add_shared_expert(op, residual);
}

void CpuBackend::add_shared_expert(const MoeFfn& op, CpuActivation& x) {
  const int64_t width = packed(*op.shared_down).cols();
  expert_.reserve(max_tokens_ * width);
  shared_weight_.assign(static_cast<size_t>(tokens()), 1.0f);
  if (op.shared_gate != nullptr) {
    for (size_t t = 0; t < shared_weight_.size(); ++t) {
      const float gate = vector_ops().dot(normed_.data() + static_cast<int64_t>(t) * x.width(),
                                          values(*op.shared_gate), x.width());
      shared_weight_[t] = 1.0f / (1.0f + std::exp(-gate));
    }
  }
  matmul_.run(packed(*op.shared_gate_up), {normed_.data(), x.width(), input_.num_tokens()},
              {expert_.data(), width}, Epilogue::SwiGlu);
  matmul_.run(packed(*op.shared_down), {expert_.data(), width, input_.num_tokens()}, {x.row(0), x.width()},
              Epilogue::AddScaled, 0, shared_weight_.data());
}

void CpuBackend::logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
                        const DeviceActivation& x) {
  if (input_.logit_rows.empty()) return;
  vocab_ = packed(output).rows();
  logits_.reserve(max_logit_rows_ * vocab_);
  InputRows rows = normed_rows(x, norm, eps);
  rows.count = static_cast<int32_t>(input_.logit_rows.size());
  rows.index = input_.logit_rows.data();
  matmul_.run(packed(output), rows, {logits_.data(), vocab_}, Epilogue::Store);
}

void CpuBackend::launch_sample(std::span<const SamplingRow> rows) {
  CHECK(rows.size() <= input_.logit_rows.size());
  sampled_.assign(rows.size(), {});
  std::vector<std::exception_ptr> failures(samplers_.size());
  std::atomic<size_t> next{0};
  const auto work = [&](int worker) {
    try {
      auto& sampler = samplers_[static_cast<size_t>(worker)];
      for (size_t i = next++; i < rows.size(); i = next++) {
        if (sampler == nullptr) sampler = std::make_unique<Sampler>(vocab_);
        sampled_[i] = sampler->sample(
            {logits_.data() + static_cast<int64_t>(i) * vocab_, static_cast<size_t>(vocab_)}, rows[i]);
      }
    } catch (...) {
      failures[static_cast<size_t>(worker)] = std::current_exception();
    }
  };
  if (rows.size() == 1)
    work(0);
  else if (!rows.empty())
    pool_.run(work);
  for (const std::exception_ptr& failure : failures) {
    if (failure != nullptr) std::rethrow_exception(failure);
  }
}

std::vector<SampledToken> CpuBackend::collect() { return std::exchange(sampled_, {}); }

// ---- inspection

std::vector<float> CpuBackend::read_logits(int32_t row) {
  CHECK(row >= 0 && static_cast<size_t>(row) < input_.logit_rows.size());
  const float* begin = logits_.data() + row * vocab_;
  return {begin, begin + vocab_};
}

std::vector<float> CpuBackend::read(const DeviceActivation& a, int32_t token) {
  CHECK(token >= 0 && token < max_tokens_);
  const float* begin = activation(a).row(token);
  return {begin, begin + a.width()};
}

void CpuBackend::write(DeviceActivation& a, int32_t token, std::span<const float> row) {
  CHECK(token >= 0 && token < max_tokens_ && static_cast<int64_t>(row.size()) == a.width());
  std::ranges::copy(row, activation(a).row(token));
}

std::vector<float> CpuBackend::read(const DeviceVector& v) { return {values(v), values(v) + v.size()}; }

std::vector<float> CpuBackend::read_rows(const DeviceMatrix& m, int64_t first, int64_t count) {
  CHECK(first >= 0 && count >= 0 && first + count <= m.rows() * m.experts());
  std::vector<float> rows(static_cast<size_t>(count * m.cols()));
  for (int64_t i = 0; i < count; ++i) {
    packed(m).dequantize_row((first + i) % m.rows(), &rows[static_cast<size_t>(i * m.cols())],
                             (first + i) / m.rows());
  }
  return rows;
}

KvRow CpuBackend::read_kv(const DeviceKvCache& kv, const KvPlace& at) {
  return static_cast<const CpuKvCache&>(kv).read(at.layer, at.kv_head, at.slot);
}

void CpuBackend::write_kv(DeviceKvCache& kv, const KvPlace& at, const KvRow& row) {
  const auto head_dim = static_cast<size_t>(kv.spec().head_dim);
  CHECK(row.key.size() == head_dim && row.value.size() == head_dim);
  static_cast<CpuKvCache&>(kv).write(at.layer, at.kv_head, at.slot, row.key.data(), row.value.data());
}

}  // namespace qwend::cpu

namespace qwend {

std::unique_ptr<Backend> make_cpu_backend(int32_t max_tokens, int32_t max_logit_rows, int32_t threads,
                                          CpuProducts products) {
  return std::make_unique<cpu::CpuBackend>(max_tokens, max_logit_rows, threads, products);
}

}  // namespace qwend
