#include "kernels/cpu/step_part.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cpu/handles.h"
#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {

namespace {
constexpr int64_t kRowGrain = 4;  // rows a thread takes at once in work that is about a microsecond a row
}  // namespace

StepPart::StepPart(ThreadPool& pool, int32_t max_tokens)
    : max_tokens_(max_tokens), pool_(pool), matmul_(pool) {}

void StepPart::begin(const StepInput& step, int32_t first, int32_t last) {
  const auto s = static_cast<size_t>(first), num_seqs = static_cast<size_t>(last - first);
  first_token_ = step.cu_seqlens[s];
  const int32_t end = step.cu_seqlens[s + num_seqs];
  CHECK(end - first_token_ <= max_tokens_);
  const auto t = static_cast<size_t>(first_token_), num_tokens = static_cast<size_t>(end - first_token_);
  cu_seqlens_.clear();
  for (size_t i = s; i <= s + num_seqs; ++i) cu_seqlens_.push_back(step.cu_seqlens[i] - first_token_);
  const auto row = std::ranges::lower_bound(step.logit_rows, first_token_);
  first_logit_row_ = row - step.logit_rows.begin();
  logit_rows_.clear();
  for (auto r = row; r != step.logit_rows.end() && *r < end; ++r) logit_rows_.push_back(*r - first_token_);

  input_ = {};
  input_.tokens = step.tokens.subspan(t, num_tokens);
  input_.positions = step.positions.subspan(t, num_tokens);
  input_.slot_mapping = step.slot_mapping.subspan(t, num_tokens);
  input_.cu_seqlens = cu_seqlens_;
  input_.context_lens = step.context_lens.subspan(s, num_seqs);
  input_.block_tables = step.block_tables.subspan(s * static_cast<size_t>(step.block_table_stride));
  input_.block_table_stride = step.block_table_stride;
  input_.logit_rows = logit_rows_;
  angles_of_ = nullptr;
  plan_.clear();
}

float* StepPart::row(DeviceActivation& a, int64_t t) const { return activation(a).row(first_token_ + t); }
const float* StepPart::row(const DeviceActivation& a, int64_t t) const {
  return activation(a).row(first_token_ + t);
}

void StepPart::embed(const DeviceMatrix& table, DeviceActivation& x) {
  pool_.parallel_for(tokens(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      packed(table).dequantize_row(input_.tokens[static_cast<size_t>(t)], row(x, t));
    }
  });
}

// All rows of x, normalised on their way into a product.
InputRows StepPart::normed_rows(const DeviceActivation& x, const DeviceVector& norm, float eps) const {
  return {row(x, 0), x.width(), input_.num_tokens(), nullptr, values(norm), eps};
}

// The same once for several products, in normed_.
void StepPart::normalise(const DeviceVector& norm, float eps, const DeviceActivation& x) {
  normed_.reserve(int64_t{max_tokens_} * x.width());
  pool_.parallel_for(tokens(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      vector_ops().rms_norm(row(x, t), values(norm), eps, x.width(), normed_.data() + t * x.width());
    }
  });
}

void StepPart::attn_input(const Backend::AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
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
      finish_qkv(op, static_cast<int32_t>(t), static_cast<CpuKvCache&>(kv), row(q, t));
    }
  });
}

// Bias, QK-norm and rotation of token t; its keys and values go to the cache, its queries to q.
void StepPart::finish_qkv(const Backend::AttnInput& op, int32_t t, CpuKvCache& kv, float* q) {
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

void StepPart::attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                         const DeviceKvCache& kv, DeviceActivation& out) {
  if (!plan_.built()) plan_.build(input_, shape);
  plan_.run(input_, layer, row(q, 0), static_cast<const CpuKvCache&>(kv), row(out, 0), pool_);
}

void StepPart::linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) {
  matmul_.run(packed(w), {row(in, 0), in.width(), input_.num_tokens()}, {row(x, 0), x.width()},
              Epilogue::Add);
}

void StepPart::ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                           const DeviceActivation& x, DeviceActivation& h) {
  matmul_.run(packed(gate_up), normed_rows(x, norm, eps), {row(h, 0), h.width()}, Epilogue::SwiGlu);
}

void StepPart::moe_ffn(const Backend::MoeFfn& op, DeviceActivation& x) {
  const MoeShape& shape = op.shape;
  const auto used = static_cast<size_t>(shape.num_used), experts = static_cast<size_t>(shape.num_experts);
  normalise(op.norm, op.eps, x);
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
                {row(x, 0), x.width(), rows.data()}, Epilogue::AddScaled, e, batches_.weights(e).data());
  }
  if (op.shared_gate_up != nullptr) add_shared_expert(op, x);
}

void StepPart::add_shared_expert(const Backend::MoeFfn& op, DeviceActivation& x) {
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
  matmul_.run(packed(*op.shared_down), {expert_.data(), width, input_.num_tokens()}, {row(x, 0), x.width()},
              Epilogue::AddScaled, 0, shared_weight_.data());
}

void StepPart::logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
                      const DeviceActivation& x, float* logits) {
  if (input_.logit_rows.empty()) return;
  const int64_t vocab = packed(output).rows();
  InputRows rows = normed_rows(x, norm, eps);
  rows.count = static_cast<int32_t>(input_.logit_rows.size());
  rows.index = input_.logit_rows.data();
  matmul_.run(packed(output), rows, {logits + first_logit_row_ * vocab, vocab}, Epilogue::Store);
}

}  // namespace qwend::cpu
