#include "server/cli/bench_runner.h"

#include <algorithm>
#include <chrono>

#include "kernels/check.h"

namespace qwend::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

}  // namespace

BenchRunner::BenchRunner(const gguf::File& file, const Device& device, const Limits& limits)
    : max_tokens_(limits.max_tokens) {
  backend_ = make_backend(device, {limits.max_tokens, limits.max_seqs, limits.threads});
  const bool quantised = has_quantised_weights(file);
  const ModelConfig config = ModelConfig::from_gguf(file);
  const MemorySettings asked{.kv_blocks = limits.kv_blocks, .kv_dtype = limits.kv_dtype};
  const auto start = SteadyClock::now();
  model_ =
      std::make_unique<QwenModel>(file, config, *backend_, nullptr, nullptr,
                                  free_beside_copies(config, asked, quantised, backend_->memory().total));
  load_seconds_ = seconds_since(start);
  const KvDType by_default = default_kv_dtype(device.is_cuda(), quantised);
  const KvCacheSpec spec =
      kv_cache_spec(config, limits.kv_blocks, kBlockSize, limits.kv_dtype.value_or(by_default));
  const uint64_t bytes = spec.bytes_per_token() * kBlockSize * static_cast<uint64_t>(limits.kv_blocks);
  const DeviceMemory memory = backend_->memory();
  if (memory.total > 0 && bytes > memory.free) {
    throw DeviceError("bench: these streams and contexts need " + gigabytes(bytes) + " of KV cache, " +
                      gigabytes(memory.free) + " are free");
  }
  kv_ = backend_->allocate_kv(spec);
  backend_->time_steps();
}

void BenchRunner::start(int num_seqs, int max_context) {
  num_seqs_ = num_seqs;
  blocks_per_seq_ = blocks_for(max_context);
  CHECK(num_seqs * blocks_per_seq_ <= kv_->spec().num_blocks);
  tables_.resize(static_cast<size_t>(num_seqs * blocks_per_seq_));
  for (size_t i = 0; i < tables_.size(); ++i) tables_[i] = static_cast<int32_t>(i);
  context_ = 0;
}

StepSplit BenchRunner::prefill(int tokens) {
  const int chunk = std::max(1, max_tokens_ / num_seqs_);
  const int steps = (tokens + chunk - 1) / chunk;
  return run(steps, [&](int i) {
    return Step{.tokens_per_seq = std::min(chunk, tokens - i * chunk), .logits = i + 1 == steps};
  });
}

StepSplit BenchRunner::first_token(int tokens) {
  return run(1, [&](int) { return Step{.tokens_per_seq = tokens, .sampling = true}; });
}

StepSplit BenchRunner::decode(int steps, bool sampling) {
  return run(steps, [&](int i) { return Step{.sampling = sampling, .feed_drawn = sampling && i > 0}; });
}

template <class MakeStep>
StepSplit BenchRunner::run(int steps, MakeStep&& make_step) {
  StepSplit split{.steps = steps};
  const auto start = SteadyClock::now();
  for (int i = 0; i < steps; ++i) {
    if (in_flight_ == backend_->max_in_flight()) collect(split);
    const auto launching = SteadyClock::now();
    launch(make_step(i));
    split.host += seconds_since(launching);
  }
  while (in_flight_ > 0) collect(split);
  split.wall = seconds_since(start);
  return split;
}

void BenchRunner::launch(const Step& step) {
  for (auto* v : {&tokens_, &positions_, &slots_, &context_lens_, &logit_rows_, &token_rows_}) v->clear();
  cu_seqlens_.assign(1, 0);
  // Where only one step is in flight the host has seen the tokens.
  const bool on_device = step.feed_drawn && backend_->max_in_flight() > 1;
  for (int s = 0; s < num_seqs_; ++s) {
    for (int i = 0; i < step.tokens_per_seq; ++i) {
      random_ = random_ * 1664525u + 1013904223u;
      const auto random = static_cast<int32_t>((random_ >> 8) % static_cast<uint32_t>(config().vocab));
      const bool seen = step.feed_drawn && !on_device;
      tokens_.push_back(seen ? drawn_[static_cast<size_t>(s)].token : random);
      if (on_device) token_rows_.push_back(s);
      positions_.push_back(context_ + i);
      slots_.push_back(s * blocks_per_seq_ * kBlockSize + context_ + i);
    }
    cu_seqlens_.push_back((s + 1) * step.tokens_per_seq);
    context_lens_.push_back(context_ + step.tokens_per_seq);
    if (step.logits) logit_rows_.push_back((s + 1) * step.tokens_per_seq - 1);
  }
  const StepInput input{tokens_, positions_,      slots_,      cu_seqlens_, context_lens_,
                        tables_, blocks_per_seq_, logit_rows_, token_rows_};
  model_->forward(input, *kv_);
  context_ += step.tokens_per_seq;

  std::vector<SamplingRow> rows(step.sampling ? static_cast<size_t>(num_seqs_) : 0);
  for (size_t s = 0; s < rows.size(); ++s) {
    rows[s].temperature = 0.7f, rows[s].top_k = 20, rows[s].top_p = 0.8f;
    rows[s].seed = s + 1, rows[s].position = context_;
  }
  backend_->launch_sample(rows);
  ++in_flight_;
}

void BenchRunner::collect(StepSplit& split) {
  drawn_ = backend_->collect();
  --in_flight_;
  const StepTimes times = backend_->last_step_times();
  split.busy += times.busy;
  split.gap += times.gap;
}

}  // namespace qwend::cli
