#include "server/cli/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>

#include "engine/memory_plan.h"
#include "server/cli/bench_cost.h"
#include "server/cli/bench_mixed.h"
#include "server/cli/bench_report.h"
#include "server/cli/bench_runner.h"
#include "server/cli/options.h"
#include "server/embedded_model.h"

namespace qwend::cli {
namespace {

constexpr int kFirstPrompt = 16;  // tokens

// Each repetition after one warm-up.
std::vector<StepSplit> repeat(int repetitions, const std::function<StepSplit()>& work) {
  std::vector<StepSplit> runs;
  for (int i = 0; i <= repetitions; ++i) {
    const StepSplit run = work();
    if (i > 0) runs.push_back(run);
  }
  return runs;
}

// tokens: of one repetition.
BenchFigure summarise(std::string test, int streams, int tokens, const std::vector<StepSplit>& runs) {
  BenchFigure f{.test = std::move(test), .streams = streams};
  const auto count = static_cast<double>(runs.size());
  double steps = 0;
  for (const StepSplit& run : runs) {
    f.tokens_per_second += tokens / run.wall / count;
    steps += static_cast<double>(run.steps);
    f.step_us += run.wall, f.busy_us += run.busy, f.gap_us += run.gap, f.host_us += run.host;
  }
  for (double* us : {&f.step_us, &f.busy_us, &f.gap_us, &f.host_us}) *us *= 1e6 / steps;
  for (const StepSplit& run : runs)
    f.deviation += std::pow(tokens / run.wall - f.tokens_per_second, 2) / count;
  f.deviation = std::sqrt(f.deviation);
  return f;
}

class Suite {
 public:
  Suite(const BenchOptions& options, BenchRunner& runner, TokenCost cost)
      : options_(options), runner_(runner), cost_(std::move(cost)) {}

  BenchFigure prompt(int tokens) {
    const auto runs = repeat(options_.repetitions, [&] {
      runner_.start(1, tokens);
      return runner_.prefill(tokens);
    });
    BenchFigure f = summarise("pp" + std::to_string(tokens), 1, tokens, runs);
    f.flops_per_token = cost_.prompt_flops(tokens);
    return f;
  }

  // The context is computed once: each repetition goes back to its end.
  void start_streams(int tokens, int streams) {
    runner_.start(streams, options_.ctx + tokens);
    if (options_.ctx > 0) runner_.prefill(options_.ctx);
  }
  BenchFigure generate(int tokens, int streams, bool sampling) {
    const auto runs = repeat(options_.repetitions, [&] {
      runner_.rewind(options_.ctx);
      return runner_.decode(tokens, sampling);
    });
    const std::string name = "tg" + std::to_string(tokens) + (sampling ? " + sampling" : "");
    BenchFigure f = summarise(name, streams, tokens * streams, runs);
    const double context = options_.ctx + tokens / 2.0;
    f.bytes_per_token = cost_.decode_bytes(streams, context) / streams;
    f.flops_per_token = cost_.decode_flops(context);
    return f;
  }

 private:
  const BenchOptions& options_;
  BenchRunner& runner_;
  TokenCost cost_;
};

// Blocks of the largest test.
int kv_blocks(const BenchOptions& options) {
  int blocks = 1;
  for (const int tokens : options.prompt) blocks = std::max(blocks, BenchRunner::blocks_for(tokens));
  for (const int tokens : options.generate) {
    for (const int streams : options.batch)
      blocks = std::max(blocks, streams * BenchRunner::blocks_for(options.ctx + tokens));
  }
  return blocks;
}

}  // namespace

int run_bench(const BenchOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const Device device = find_device(DeviceChoice::parse(options.device).value_or(DeviceChoice{}));
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  const gguf::File file = open_model(options.model);
  const int ubatch = options.ubatch > 0 ? options.ubatch : default_batch_tokens(device.is_cuda());
  const int streams = *std::max_element(options.batch.begin(), options.batch.end());
  const int batch_tokens = std::max(ubatch, streams + 1);
  auto runner = std::make_unique<BenchRunner>(file, device,
                                              BenchRunner::Limits{.threads = options.threads,
                                                                  .max_tokens = batch_tokens,
                                                                  .max_seqs = streams,
                                                                  .kv_blocks = kv_blocks(options),
                                                                  .kv_dtype = kv_dtype_of(options.kv_dtype)});
  runner->start(1, kFirstPrompt);
  runner->first_token(kFirstPrompt);
  const std::chrono::duration<double> cold = std::chrono::steady_clock::now() - start;

  BenchReport report(
      {.model = file.path(),
       .model_bytes = file.total_bytes(),
       .device = device,
       .device_name = runner->device_name(),
       .threads = threads,
       .ctx = options.ctx,
       .ubatch = ubatch,
       .load_seconds = runner->load_seconds(),
       .first_token_seconds = cold.count(),
       .yardstick = device.is_cuda() ? measure_cuda(device.cuda->index) : measure_cpu(threads)},
      options.json);
  Suite suite(options, *runner, TokenCost(file, runner->config(), runner->kv_spec().bytes_per_token()));
  for (const int tokens : options.prompt) {
    if (tokens > 0) report.add(suite.prompt(tokens));
  }
  for (const int tokens : options.generate) {
    if (tokens <= 0) continue;
    for (const int b : options.batch) {
      suite.start_streams(tokens, b);
      report.add(suite.generate(tokens, b, false));
      report.add(suite.generate(tokens, b, true));
    }
  }
  if (!options.mixed.empty()) {
    runner.reset();  // its memory is for the engine
    MixedBench mixed(file, device,
                     {.streams = options.batch,
                      .prompts = options.mixed,
                      .context = options.ctx,
                      .repetitions = options.repetitions,
                      .batch_tokens = batch_tokens,
                      .threads = options.threads,
                      .kv_dtype = kv_dtype_of(options.kv_dtype)});
    for (const int b : options.batch) {
      for (const int tokens : options.mixed) report.add(mixed.run(b, tokens));
    }
  }
  report.finish();
  return 0;
}

}  // namespace qwend::cli
