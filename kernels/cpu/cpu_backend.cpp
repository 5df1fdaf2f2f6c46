#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/handles.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/vector_ops.h"
#include "kernels/quant/formats.h"

namespace qwend::cpu {

namespace {
// Steps that are split: the least tokens a thread, so that it is products and not weights that take its time;
// the most of a step; the most bytes of weights, all of which every thread reads from the shared cache.
constexpr int32_t kLeastLaneTokens = 24, kMostSplitTokens = 256;
constexpr size_t kMostSplitWeights = size_t{16} << 20;
// Keys whose attention costs as much as the products of a token, in a model of such a size.
constexpr int64_t kKeysOfToken = 500;
}  // namespace

CpuBackend::CpuBackend(int32_t max_tokens, int32_t max_logit_rows, int32_t threads, CpuProducts products)
    : max_tokens_(max_tokens),
      max_logit_rows_(max_logit_rows),
      products_(products),
      pool_(threads),
      whole_(pool_, max_tokens) {
  CHECK(max_tokens > 0 && max_logit_rows > 0);
  samplers_.resize(static_cast<size_t>(pool_.size()));
}

std::string CpuBackend::device_name() const {
  return "CPU, " + std::to_string(pool_.size()) + " threads, " + vector_ops().name;
}

// ---- start-up

Matrix CpuBackend::upload(std::span<const HostMatrix> parts) {
  const auto pack = [&](std::span<const HostMatrix> from) {
    auto matrix = std::make_unique<CpuMatrix>(PackedMatrix::pack(from, pool_));
    weight_bytes_ += matrix->bytes();
    return matrix;
  };
  if (products_ == CpuProducts::Fast) return pack(parts);
  std::vector<HostMatrix> expanded(parts.begin(), parts.end());
  std::vector<FloatBuffer> values(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t elements = parts[i].rows * parts[i].cols * parts[i].experts;
    values[i].reserve(elements);
    dequantize(parts[i].dtype, parts[i].data, values[i].data(), elements);
    expanded[i].data = reinterpret_cast<const std::byte*>(values[i].data());
    expanded[i].dtype = DType::F32;
  }
  return pack(expanded);
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
bool CpuBackend::begin_step(const StepInput& input, uint64_t program) {
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
  whole_.begin(input_, 0, input_.num_seqs());
  ops_.clear();
  split_ = program != 0 && split();  // without a program ops may be followed by inspection
  return false;
}

// Deals the sequences out to the lanes, in order and at nearly equal cost, or returns false.
bool CpuBackend::split() {
  const int32_t num_lanes = pool_.size(), num_tokens = input_.num_tokens();
  if (num_lanes == 1 || weight_bytes_ > kMostSplitWeights) return false;
  if (num_tokens < num_lanes * kLeastLaneTokens || num_tokens > kMostSplitTokens) return false;
  const auto cost = [&](int32_t s) {
    const auto i = static_cast<size_t>(s);
    return (input_.cu_seqlens[i + 1] - input_.cu_seqlens[i]) * (kKeysOfToken + input_.context_lens[i]);
  };
  int64_t total = 0;
  for (int32_t s = 0; s < input_.num_seqs(); ++s) total += cost(s);
  while (lanes_.size() < static_cast<size_t>(num_lanes)) {
    lanes_.push_back(std::make_unique<Lane>(std::min(max_tokens_, kMostSplitTokens)));
  }
  int64_t dealt = 0;
  for (int32_t lane = 0, s = 0; lane < num_lanes; ++lane) {
    const int32_t first = s;
    const int64_t before = dealt, goal = total * (lane + 1) / num_lanes;
    while (s < input_.num_seqs() && dealt + cost(s) / 2 < goal) dealt += cost(s++);
    if (s == first || (dealt - before) * num_lanes * 4 > total * 5) return false;
    lanes_[static_cast<size_t>(lane)]->part.begin(input_, first, s);
  }
  return dealt == total;
}

template <class Op>
void CpuBackend::compute(Op op) {
  if (split_)
    ops_.push_back(op);
  else
    op(whole_);
}

template <class Item>
void CpuBackend::run_items(size_t count, Item item) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(pool_.size()));
  std::atomic<size_t> next{0};
  const auto work = [&](int worker) {
    try {
      for (size_t i = next++; i < count; i = next++) item(static_cast<size_t>(worker), i);
    } catch (...) {
      failures[static_cast<size_t>(worker)] = std::current_exception();
    }
  };
  if (count == 1)
    work(0);
  else if (count > 0)
    pool_.run(work);
  for (const std::exception_ptr& failure : failures) {
    if (failure != nullptr) std::rethrow_exception(failure);
  }
}

void CpuBackend::embed(const DeviceMatrix& table, DeviceActivation& x) {
  compute([&](StepPart& part) { part.embed(table, x); });
}

void CpuBackend::attn_input(const AttnInput& op, const DeviceActivation& x, DeviceKvCache& kv,
                            DeviceActivation& q) {
  compute([op, &x, &kv, &q](StepPart& part) { part.attn_input(op, x, kv, q); });
}

void CpuBackend::attention(const AttentionShape& shape, int32_t layer, const DeviceActivation& q,
                           const DeviceKvCache& kv, DeviceActivation& out) {
  compute([shape, layer, &q, &kv, &out](StepPart& part) { part.attention(shape, layer, q, kv, out); });
}

void CpuBackend::linear_residual(const DeviceMatrix& w, const DeviceActivation& in, DeviceActivation& x) {
  compute([&](StepPart& part) { part.linear_residual(w, in, x); });
}

void CpuBackend::ffn_gate_up(const DeviceVector& norm, float eps, const DeviceMatrix& gate_up,
                             const DeviceActivation& x, DeviceActivation& h) {
  compute([&, eps](StepPart& part) { part.ffn_gate_up(norm, eps, gate_up, x, h); });
}

void CpuBackend::moe_ffn(const MoeFfn& op, DeviceActivation& x) {
  compute([op, &x](StepPart& part) { part.moe_ffn(op, x); });
}

void CpuBackend::logits(const DeviceVector& norm, float eps, const DeviceMatrix& output,
                        const DeviceActivation& x) {
  if (!input_.logit_rows.empty()) {
    vocab_ = output.rows();
    logits_.reserve(max_logit_rows_ * vocab_);
  }
  compute([&, eps](StepPart& part) { part.logits(norm, eps, output, x, logits_.data()); });
  if (!split_) return;
  run_items(lanes_.size(), [&](size_t /*worker*/, size_t lane) {
    for (const auto& op : ops_) op(lanes_[lane]->part);
  });
  ops_.clear();
  split_ = false;
}

void CpuBackend::launch_sample(std::span<const SamplingRow> rows) {
  CHECK(rows.size() <= input_.logit_rows.size());
  sampled_.assign(rows.size(), {});
  run_items(rows.size(), [&](size_t worker, size_t i) {
    auto& sampler = samplers_[worker];
    if (sampler == nullptr) sampler = std::make_unique<Sampler>(vocab_);
    sampled_[i] = sampler->sample(
        {logits_.data() + static_cast<int64_t>(i) * vocab_, static_cast<size_t>(vocab_)}, rows[i]);
  });
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
