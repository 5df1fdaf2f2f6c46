#include "kernels/cuda/step_buffers.h"

#include <algorithm>

#include "kernels/check.h"

namespace qwend::cuda {
namespace {

// Offsets of the arrays in the one buffer, in elements. Block tables come last: their stride varies.
struct Layout {
  explicit Layout(const StepShape& shape) {
    const auto T = static_cast<size_t>(shape.num_tokens), S = static_cast<size_t>(shape.num_seqs);
    size_t at = 4;  // stride, and room to stay aligned
    const auto take = [&](size_t count) { return std::exchange(at, at + (count + 3) / 4 * 4); };
    tokens = take(T), token_rows = take(T), positions = take(T), slot_mapping = take(T), token_seq = take(T);
    cu_seqlens = take(S + 1), context_lens = take(S),
    logit_rows = take(static_cast<size_t>(shape.num_logit_rows));
    block_tables = at;
  }
  size_t tokens, token_rows, positions, slot_mapping, token_seq, cu_seqlens, context_lens, logit_rows,
      block_tables;
};

size_t step_elements(const StepInput& input, const StepShape& shape) {
  return Layout(shape).block_tables +
         input.context_lens.size() * static_cast<size_t>(input.block_table_stride);
}

void fill(int32_t* to, std::span<const int32_t> values, size_t count, int32_t padding) {
  std::fill(std::ranges::copy(values, to).out, to + count, padding);
}

}  // namespace

StepShape StepShape::of(const StepInput& input) {
  StepShape shape{.num_tokens = input.num_tokens(),
                  .num_seqs = input.num_seqs(),
                  .num_logit_rows = static_cast<int32_t>(input.logit_rows.size()),
                  .min_seq_tokens = input.num_tokens()};
  for (size_t s = 0; s < input.context_lens.size(); ++s) {
    const int32_t tokens = input.cu_seqlens[s + 1] - input.cu_seqlens[s];
    shape.max_context = std::max(shape.max_context, input.context_lens[s]);
    shape.max_seq_tokens = std::max(shape.max_seq_tokens, tokens);
    shape.min_seq_tokens = std::min(shape.min_seq_tokens, tokens);
  }
  return shape;
}

// 64 Ki block table entries to start with: 32 sequences of 32,768 tokens.
StepBuffers::StepBuffers(int32_t max_tokens)
    : device_(DeviceBuffer<int32_t>::zeroed(static_cast<size_t>(max_tokens) * 8 + (size_t{1} << 16))) {
  for (Slot& slot : ring_) slot.host = PinnedBuffer<int32_t>(device_.size());
}

bool StepBuffers::grow(const StepInput& input, const StepShape& shape) {
  const size_t wanted = step_elements(input, shape);
  if (wanted <= device_.size()) return false;
  CUDA_CHECK(cudaDeviceSynchronize());
  device_ = DeviceBuffer<int32_t>::zeroed(2 * wanted);
  for (Slot& slot : ring_) slot.host = PinnedBuffer<int32_t>(device_.size());
  return true;
}

DeviceStep StepBuffers::upload(const StepInput& input, const StepShape& shape, cudaStream_t stream) {
  const Layout at(shape);
  const size_t elements = step_elements(input, shape);
  CHECK(elements <= device_.size());
  Slot& slot = ring_[next_++ % kRing];
  CUDA_CHECK(cudaEventSynchronize(slot.copied.get()));
  int32_t* const host = slot.host.data();
  const auto T = static_cast<size_t>(shape.num_tokens), S = static_cast<size_t>(shape.num_seqs);
  host[0] = input.block_table_stride;
  fill(host + at.tokens, input.tokens, T, 0);
  fill(host + at.token_rows, input.token_rows, T, -1);
  fill(host + at.positions, input.positions, T, 0);
  fill(host + at.slot_mapping, input.slot_mapping, T, -1);
  fill(host + at.cu_seqlens, input.cu_seqlens, S + 1, input.num_tokens());
  fill(host + at.context_lens, input.context_lens, S, 0);
  fill(host + at.logit_rows, input.logit_rows, static_cast<size_t>(shape.num_logit_rows), 0);
  std::fill_n(host + at.token_seq, T, -1);
  for (size_t s = 0; s < input.context_lens.size(); ++s) {
    std::fill(host + at.token_seq + input.cu_seqlens[s], host + at.token_seq + input.cu_seqlens[s + 1],
              static_cast<int32_t>(s));
  }
  std::copy_n(input.block_tables.begin(), elements - at.block_tables, host + at.block_tables);
  CUDA_CHECK(
      cudaMemcpyAsync(device_.data(), host, elements * sizeof(int32_t), cudaMemcpyHostToDevice, stream));
  CUDA_CHECK(cudaEventRecord(slot.copied.get(), stream));

  const int32_t* const d = device_.data();
  return {.tokens = d + at.tokens,
          .token_rows = d + at.token_rows,
          .positions = d + at.positions,
          .slot_mapping = d + at.slot_mapping,
          .token_seq = d + at.token_seq,
          .cu_seqlens = d + at.cu_seqlens,
          .context_lens = d + at.context_lens,
          .logit_rows = d + at.logit_rows,
          .block_tables = d + at.block_tables,
          .block_table_stride = d,
          .num_tokens = shape.num_tokens,
          .num_seqs = shape.num_seqs,
          .num_logit_rows = shape.num_logit_rows,
          .max_context = shape.max_context,
          .max_seq_tokens = shape.max_seq_tokens,
          .min_seq_tokens = shape.min_seq_tokens};
}

}  // namespace qwend::cuda
