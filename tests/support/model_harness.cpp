#include "tests/support/model_harness.h"

#include <algorithm>

#include "kernels/check.h"

namespace qwend::test {

ModelHarness::ModelHarness(const gguf::File& file, const Options& options)
    : options_(options),
      backend_(options.make_backend != nullptr ? options.make_backend(options.max_tokens, options.max_tokens)
                                               : make_cpu_backend(options.max_tokens, options.max_tokens,
                                                                  options.threads, options.products)) {
  model_ = std::make_unique<QwenModel>(file, ModelConfig::from_gguf(file), *backend_);
  kv_ = backend_->allocate_kv(
      kv_cache_spec(model_->config(), options.num_blocks, options.block_size, options.kv_dtype));
}

int32_t ModelHarness::take_block() {
  CHECK(blocks_taken_ < options_.num_blocks);
  // 37 is prime to the power of two that num_blocks is: every block once.
  CHECK((options_.num_blocks & (options_.num_blocks - 1)) == 0);
  return blocks_taken_++ * 37 % options_.num_blocks;
}

std::vector<std::vector<float>> ModelHarness::step(std::span<const Work> work) {
  std::vector<int32_t> tokens, positions, slots, cu_seqlens{0}, context_lens, rows;
  size_t stride = 1;
  for (const auto& [sequence, count, logits] : work) {
    for (int32_t i = 0; i < count; ++i) {
      const int32_t position = sequence->computed++;
      const auto block = static_cast<size_t>(position / options_.block_size);
      if (block == sequence->blocks.size()) sequence->blocks.push_back(take_block());
      tokens.push_back(sequence->tokens.at(static_cast<size_t>(position)));
      positions.push_back(position);
      slots.push_back(sequence->blocks[block] * options_.block_size + position % options_.block_size);
      if (i >= count - logits) rows.push_back(static_cast<int32_t>(tokens.size()) - 1);
    }
    cu_seqlens.push_back(static_cast<int32_t>(tokens.size()));
    context_lens.push_back(sequence->computed);
    stride = std::max(stride, sequence->blocks.size());
  }
  std::vector<int32_t> tables(stride * work.size(), -1);  // what no sequence owns must not be read
  for (size_t s = 0; s < work.size(); ++s) {
    std::copy(work[s].sequence->blocks.begin(), work[s].sequence->blocks.end(),
              tables.begin() + static_cast<std::ptrdiff_t>(s * stride));
  }
  model_->forward(
      {tokens, positions, slots, cu_seqlens, context_lens, tables, static_cast<int32_t>(stride), rows}, *kv_);
  std::vector<std::vector<float>> logits;
  for (size_t i = 0; i < rows.size(); ++i) logits.push_back(backend_->read_logits(static_cast<int32_t>(i)));
  return logits;
}

}  // namespace qwend::test
