#include "server/cli/bench_runner.h"

#include <algorithm>

#include "engine/loader.h"

namespace qwend::cli {
namespace {
constexpr int kBlockSize = 16;
}

BenchRunner::BenchRunner(const gguf::File& file, int threads, int max_tokens, int max_seqs, int max_context)
    : max_tokens_(max_tokens), blocks_per_seq_((max_context + kBlockSize - 1) / kBlockSize) {
  backend_ = make_cpu_backend(max_tokens, std::max(max_seqs, 1), threads);
  model_ = std::make_unique<QwenModel>(file, ModelConfig::from_gguf(file), *backend_);
  kv_ = backend_->allocate_kv(model_->kv_spec(blocks_per_seq_ * max_seqs, kBlockSize, kDefaultKvDType));
}

void BenchRunner::reset() { context_ = 0; }

void BenchRunner::step(int num_seqs, int tokens_per_seq, bool sampling) {
  const int total = num_seqs * tokens_per_seq;
  std::vector<int32_t> tokens, positions, slots, cu_seqlens{0}, context_lens, tables, logit_rows;
  tokens.reserve(static_cast<size_t>(total));
  for (int s = 0; s < num_seqs; ++s) {
    for (int i = 0; i < tokens_per_seq; ++i) {
      random_ = random_ * 1664525u + 1013904223u;
      tokens.push_back(static_cast<int32_t>((random_ >> 8) % static_cast<uint32_t>(config().vocab)));
      positions.push_back(context_ + i);
      slots.push_back(s * blocks_per_seq_ * kBlockSize + context_ + i);
    }
    cu_seqlens.push_back((s + 1) * tokens_per_seq);
    context_lens.push_back(context_ + tokens_per_seq);
    for (int b = 0; b < blocks_per_seq_; ++b) tables.push_back(s * blocks_per_seq_ + b);
    logit_rows.push_back((s + 1) * tokens_per_seq - 1);
  }
  const StepInput input{tokens,       positions, slots,           cu_seqlens,
                        context_lens, tables,    blocks_per_seq_, logit_rows};
  model_->forward(input, *kv_);
  context_ += tokens_per_seq;

  std::vector<SamplingRow> rows;
  if (sampling) {
    rows.resize(static_cast<size_t>(num_seqs));
    for (SamplingRow& row : rows) {
      row.temperature = 0.7f, row.top_k = 20, row.top_p = 0.8f;
      row.seed = 1, row.position = context_;
    }
  }
  backend_->sample(rows);  // waits for the step
}

void BenchRunner::prefill(int num_seqs, int tokens) {
  for (int done = 0; done < tokens;) {
    const int chunk = std::min(tokens - done, std::max(1, max_tokens_ / num_seqs));
    step(num_seqs, chunk, false);
    done += chunk;
  }
}

}  // namespace qwend::cli
