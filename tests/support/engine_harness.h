// EngineCore without its thread: tests submit, step and look, in an order that they choose.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/run/engine_core.h"
#include "tests/support/fake_executor.h"
#include "tests/support/test_vocabulary.h"

namespace qwend::test {

// What a reader of a stream has seen.
struct Received {
  struct One {
    std::string text;
    std::vector<int32_t> tokens;
    std::vector<TokenOutput> outputs;
    FinishReason finish = FinishReason::None;
    int32_t stop_index = -1;
  };
  explicit Received(std::shared_ptr<OutputStream> stream_, int32_t n)
      : stream(std::move(stream_)), sequences(n) {}

  // False when a rule of the stream is broken: a delta after the end, an index out of range.
  bool take(std::chrono::milliseconds timeout = std::chrono::milliseconds(0)) {
    for (OutputDelta& delta : stream->take_all(timeout)) {
      ++num_deltas;
      if (done || delta.index < 0 || delta.index >= static_cast<int32_t>(sequences.size())) return false;
      One& one = sequences[delta.index];
      if (one.finish != FinishReason::None) return false;
      one.text += delta.text;
      for (const TokenOutput& output : delta.tokens) {
        one.tokens.push_back(output.token);
        one.outputs.push_back(output);
      }
      one.finish = delta.finish;
      one.stop_index = delta.stop_index;
      if (!delta.prompt_logprobs.empty()) {
        if (!prompt_logprobs.empty() || delta.index != 0) return false;
        prompt_logprobs = delta.prompt_logprobs;
      }
      if (!delta.error.empty()) error = delta.error;
      if (!delta.last) continue;
      done = true;
      usage = delta.usage;
      timings = delta.timings;
    }
    return true;
  }
  void wait() {  // for the end; gives up after a minute
    for (int i = 0; i < 600 && !done; ++i) {
      if (!take(std::chrono::milliseconds(100))) return;
    }
  }

  std::shared_ptr<OutputStream> stream;
  std::vector<One> sequences;  // [n]
  std::vector<TokenOutput> prompt_logprobs;
  std::string error;
  bool done = false;
  Usage usage;
  Timings timings;
  int32_t num_deltas = 0;
};

struct EngineHarness {
  static constexpr int32_t kVocab = kSmallVocabularySize + 3;  // padded, as real models are

  // depth: steps that the executor allows in flight.
  explicit EngineHarness(EngineConfig config_, int32_t depth_ = 1, bool copies_blocks = false)
      : config(config_),
        depth(depth_),
        executor(kVocab, config.num_kv_blocks, config.block_size, depth, copies_blocks),
        core(config, executor, *small_tokenizer()) {}

  Received submit(GenerationRequest request, Clock::time_point now = Clock::now(), bool needs_sync = false) {
    const int32_t n = request.n;
    const uint64_t seed = request.sampling.seed.value_or(0);
    auto active = std::make_unique<ActiveRequest>(++last_id, std::move(request), seed, *small_tokenizer(),
                                                  config.max_model_len, now);
    for (Sequence& sequence : active->sequences) sequence.needs_sync = needs_sync;
    Received received(active->stream, n);
    core.add(std::move(active));
    return received;
  }
  void step() {
    core.step();
    core.publish();
  }
  // Until `count` further steps have been committed; at depth 2 another one is in flight then.
  void steps(int32_t count) {
    const uint64_t end = core.stats().steps + static_cast<uint64_t>(count);
    while (core.stats().steps < end) step();
  }
  void run() {  // until everything has ended
    while (!core.idle()) step();
  }

  const EngineConfig config;
  const int32_t depth;
  FakeExecutor executor;
  EngineCore core;
  RequestId last_id = 0;
};

inline GenerationRequest greedy(std::vector<int32_t> prompt, int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0.0f;
  request.stop.max_tokens = max_tokens;
  return request;
}

inline std::vector<int32_t> bytes_of(std::string_view text) {
  std::vector<int32_t> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

}  // namespace qwend::test
