#include "server/cli/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/gguf/gguf.h"
#include "engine/loader.h"
#include "server/cli/bench_runner.h"
#include "server/cli/yardstick.h"
#include "server/embedded_model.h"

namespace qwend::cli {
namespace {

struct Measurement {
  std::string test;
  int streams = 1;
  double tokens_per_second = 0, deviation = 0;
  double bytes_per_token = 0;  // decode: read from memory a step / tokens of the step
  double flops_per_token = 0;  // prefill
};

// What a token costs, from the file: bytes of the matrices a step reads, multiply-adds a token needs.
struct Cost {
  double matrix_bytes = 0;      // all matrices of a decode step (the untied embedding is a row look-up)
  double layer_parameters = 0;  // matrices that every prompt token passes through (no output matrix)
  double kv_bytes_per_token = 0;
};

Cost cost_of(const gguf::File& file, const ModelConfig& config, size_t kv_bytes_per_token) {
  Cost cost;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const bool embedding = tensor.name == "token_embd.weight";
    if (!embedding || config.tied_output) cost.matrix_bytes += static_cast<double>(tensor.bytes);
    if (tensor.name.starts_with("blk.")) cost.layer_parameters += static_cast<double>(tensor.elements());
  }
  cost.kv_bytes_per_token = static_cast<double>(kv_bytes_per_token);
  return cost;
}

// Seconds of each repetition after one warm-up; `prepare` is not timed.
std::vector<double> time(int repetitions, const std::function<void()>& prepare,
                         const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i <= repetitions; ++i) {
    prepare();
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (i > 0) seconds.push_back(elapsed.count());
  }
  return seconds;
}

Measurement summarise(std::string test, int streams, int tokens, const std::vector<double>& seconds) {
  Measurement m{.test = std::move(test), .streams = streams};
  for (const double s : seconds) m.tokens_per_second += tokens / s;
  m.tokens_per_second /= static_cast<double>(seconds.size());
  for (const double s : seconds) m.deviation += std::pow(tokens / s - m.tokens_per_second, 2);
  m.deviation = std::sqrt(m.deviation / static_cast<double>(seconds.size()));
  return m;
}

class Suite {
 public:
  Suite(const BenchOptions& options, BenchRunner& runner, Cost cost)
      : options_(options), runner_(runner), cost_(cost) {}

  Measurement prompt(int tokens) {
    const auto seconds = time(
        options_.repetitions, [&] { runner_.reset(); }, [&] { runner_.prefill(1, tokens); });
    Measurement m = summarise("pp" + std::to_string(tokens), 1, tokens, seconds);
    const ModelConfig& c = runner_.config();
    const double attention =
        2.0 * c.num_layers * c.num_heads * c.head_dim * tokens;  // QK and PV, causal half
    m.flops_per_token = 2.0 * cost_.layer_parameters + attention;
    return m;
  }

  Measurement generate(int tokens, int streams, bool sampling) {
    const auto prepare = [&] {
      runner_.reset();
      if (options_.ctx > 0) runner_.prefill(streams, options_.ctx);
    };
    const auto work = [&] {
      for (int i = 0; i < tokens; ++i) runner_.step(streams, 1, sampling);
    };
    const auto seconds = time(options_.repetitions, prepare, work);
    const std::string name = "tg" + std::to_string(tokens) + (sampling ? " + sampling" : "");
    Measurement m = summarise(name, streams, tokens * streams, seconds);
    const double context = options_.ctx + tokens / 2.0;
    m.bytes_per_token = cost_.matrix_bytes / streams + cost_.kv_bytes_per_token * context;
    return m;
  }

 private:
  const BenchOptions& options_;
  BenchRunner& runner_;
  Cost cost_;
};

void print_header(const gguf::File& file, int threads, double bandwidth, const std::optional<double>& sgemm) {
  std::printf("model      %s (%.2f GB)\n", file.path().c_str(),
              static_cast<double>(file.total_bytes()) / 1e9);
  std::printf("threads    %d\n", threads);
  std::printf("memory     %.1f GB/s read\n", bandwidth / 1e9);
  if (sgemm) {
    std::printf("sgemm      %.0f GFLOP/s (OpenBLAS)\n\n", *sgemm / 1e9);
  } else {
    std::printf("sgemm      not measured: libopenblas.so.0 is not installed\n\n");
  }
  std::printf("%-18s %8s %18s   %s\n", "test", "streams", "tokens/s", "share of what the machine can do");
}

void print_row(const Measurement& m, double bandwidth, const std::optional<double>& sgemm) {
  std::printf("%-18s %8d %10.1f +- %-5.1f ", m.test.c_str(), m.streams, m.tokens_per_second, m.deviation);
  if (m.bytes_per_token > 0) {
    const double rate = m.bytes_per_token * m.tokens_per_second;
    std::printf("  %5.1f%% of the read bandwidth (%.1f GB/s)\n", 100 * rate / bandwidth, rate / 1e9);
  } else if (sgemm) {
    const double rate = m.flops_per_token * m.tokens_per_second;
    std::printf("  %5.2fx sgemm (%.0f GFLOP/s)\n", rate / *sgemm, rate / 1e9);
  } else {
    std::printf("  %.0f GFLOP/s\n", m.flops_per_token * m.tokens_per_second / 1e9);
  }
  std::fflush(stdout);
}

nlohmann::ordered_json to_json(const Measurement& m, double bandwidth, const std::optional<double>& sgemm) {
  nlohmann::ordered_json row{{"test", m.test},
                             {"streams", m.streams},
                             {"tokens_per_second", m.tokens_per_second},
                             {"deviation", m.deviation}};
  if (m.bytes_per_token > 0) {
    row["bandwidth_share"] = m.bytes_per_token * m.tokens_per_second / bandwidth;
  } else {
    row["flops"] = m.flops_per_token * m.tokens_per_second;
    if (sgemm) row["sgemm_ratio"] = m.flops_per_token * m.tokens_per_second / *sgemm;
  }
  return row;
}

}  // namespace

int run_bench(const BenchOptions& options) {
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  const gguf::File file = open_model(options.model);
  const double bandwidth = measure_read_bandwidth(threads);
  const auto sgemm = measure_sgemm(threads);

  const int streams = *std::max_element(options.batch.begin(), options.batch.end());
  const int longest_prompt =
      options.prompt.empty() ? 0 : *std::max_element(options.prompt.begin(), options.prompt.end());
  const int longest_output =
      options.generate.empty() ? 0 : *std::max_element(options.generate.begin(), options.generate.end());
  const int context = std::max(longest_prompt, options.ctx + longest_output) + 1;
  BenchRunner runner(file, options.threads, std::max(options.ubatch, streams), streams, context);
  const Cost cost = cost_of(file, runner.config(),
                            KvCacheSpec{runner.config().num_layers, 0, 16, runner.config().num_kv_heads,
                                        runner.config().head_dim, kDefaultKvDType}
                                .bytes_per_token());

  nlohmann::ordered_json report{
      {"model", file.path()},
      {"threads", threads},
      {"read_bandwidth", bandwidth},
      {"sgemm_flops", sgemm ? nlohmann::ordered_json(*sgemm) : nlohmann::ordered_json()},
      {"context", options.ctx},
      {"results", nlohmann::ordered_json::array()}};
  if (!options.json) print_header(file, threads, bandwidth, sgemm);
  const auto record = [&](const Measurement& m) {
    if (!options.json) print_row(m, bandwidth, sgemm);
    report["results"].push_back(to_json(m, bandwidth, sgemm));
  };
  Suite suite(options, runner, cost);
  for (const int tokens : options.prompt) {
    if (tokens > 0) record(suite.prompt(tokens));
  }
  for (const int tokens : options.generate) {
    if (tokens <= 0) continue;
    for (const int b : options.batch) {
      record(suite.generate(tokens, b, false));
      record(suite.generate(tokens, b, true));
    }
  }
  if (options.json) std::printf("%s\n", report.dump(2).c_str());
  return 0;
}

}  // namespace qwend::cli
