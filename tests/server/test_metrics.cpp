#include <chrono>
#include <ctime>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "server/metrics.h"
#include "server/process_stats.h"
#include "server/prometheus.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

constexpr char kNameCharacters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:";

// Samples by "name{labels}". Fails on text that a Prometheus server would not read: a sample outside its
// family, a family without HELP and TYPE, a family twice, a malformed line.
std::map<std::string, double> parse(const std::string& text) {
  std::map<std::string, double> samples;
  std::set<std::string> families;
  std::istringstream lines(text);
  std::string family, type, help;
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line.starts_with("# HELP ")) {
      help = line.substr(7, line.find(' ', 7) - 7);
      CHECK(families.insert(help).second);
    } else if (line.starts_with("# TYPE ")) {
      const size_t space = line.find(' ', 7);
      family = line.substr(7, space - 7);
      type = line.substr(space + 1);
      CHECK(help == family);
      CHECK((type == "counter" || type == "gauge" || type == "histogram"));
    } else {
      const size_t value = line.rfind(' ');
      REQUIRE(value != std::string::npos);
      const std::string series = line.substr(0, value);
      const std::string name = series.substr(0, series.find('{'));
      CHECK(name.find_first_not_of(kNameCharacters) == std::string::npos);
      if (name != series) CHECK(series.back() == '}');
      if (type == "histogram") {
        CHECK((name == family + "_bucket" || name == family + "_sum" || name == family + "_count"));
      } else {
        CHECK(name == family);
      }
      size_t used = 0;
      CHECK(samples.emplace(series, std::stod(line.substr(value + 1), &used)).second);
      CHECK(used == line.size() - value - 1);
    }
  }
  return samples;
}

std::string labelled(const std::string& name, const std::string& more = "") {
  return name + "{model_name=\"m\"" + (more.empty() ? "" : "," + more) + "}";
}

EngineStats some_stats() {
  EngineStats stats;
  stats.running = 3;
  stats.waiting = 2;
  stats.blocks_total = 200;
  stats.blocks_used = 50;
  stats.blocks_cached = 30;
  stats.blocks_free = 120;
  stats.preemptions = 7;
  stats.steps = 11;
  stats.prompt_tokens = 1000;
  stats.generation_tokens = 400;
  stats.prefix_queries = 900;
  stats.prefix_hits = 600;
  stats.step_seconds.add(0.002);
  stats.step_seconds.add(0.0025);
  stats.step_seconds.add(1.5);
  stats.step_seconds.add(100.0);
  stats.schedule_seconds = 0.25;
  stats.commit_seconds = 0.125;
  stats.cancelled_queued = 4;
  stats.cancelled_prefill = 5;
  stats.cancelled_decode = 6;
  return stats;
}

}  // namespace

TEST_CASE("metrics: the engine's figures appear under vLLM's names", "[server][metrics]") {
  const Metrics metrics;
  const auto samples = parse(metrics.render(some_stats(), "m"));
  const std::map<std::string, double> expected = {
      {labelled("vllm:num_requests_running"), 3},
      {labelled("vllm:num_requests_waiting"), 2},
      {labelled("vllm:kv_cache_usage_perc"), 0.25},
      {labelled("vllm:gpu_cache_usage_perc"), 0.25},
      {labelled("vllm:prefix_cache_queries_total"), 900},
      {labelled("vllm:prefix_cache_hits_total"), 600},
      {labelled("vllm:num_preemptions_total"), 7},
      {labelled("vllm:prompt_tokens_total"), 1000},
      {labelled("vllm:generation_tokens_total"), 400},
      {labelled("vllm:iteration_tokens_total_sum"), 1400},
      {labelled("vllm:iteration_tokens_total_count"), 11},
      {labelled("qwend:step_seconds_sum"), 0.002 + 0.0025 + 1.5 + 100.0},
      {labelled("qwend:step_seconds_count"), 4},
      {labelled("qwend:step_seconds_bucket", "le=\"0.001\""), 0},
      {labelled("qwend:step_seconds_bucket", "le=\"0.0025\""), 2},
      {labelled("qwend:step_seconds_bucket", "le=\"1\""), 2},
      {labelled("qwend:step_seconds_bucket", "le=\"5\""), 3},
      {labelled("qwend:step_seconds_bucket", "le=\"+Inf\""), 4},
      {labelled("qwend:schedule_seconds_total"), 0.25},
      {labelled("qwend:commit_seconds_total"), 0.125},
      {labelled("qwend:cancelled_total", "phase=\"queued\""), 4},
      {labelled("qwend:cancelled_total", "phase=\"prefill\""), 5},
      {labelled("qwend:cancelled_total", "phase=\"decode\""), 6},
      {labelled("qwend:kv_blocks", "state=\"used\""), 50},
      {labelled("qwend:kv_blocks", "state=\"cached\""), 30},
      {labelled("qwend:kv_blocks", "state=\"free\""), 120},
  };
  for (const auto& [name, value] : expected) {
    INFO(name);
    REQUIRE(samples.contains(name));
    CHECK(samples.at(name) == value);
  }
}

TEST_CASE("metrics: requests are counted and timed", "[server][metrics]") {
  Metrics metrics;
  Usage usage;
  usage.prompt_tokens = 40;
  usage.completion_tokens = 5;
  Timings timings;
  timings.queue_ms = 100;
  timings.ttft_ms = 30;
  timings.prompt_ms = 20;
  timings.predicted_ms = 900;
  metrics.request_finished(usage, timings, 1.2, FinishReason::Stop);
  usage.completion_tokens = 0;
  metrics.request_finished(usage, timings, 60.0, FinishReason::QueueTimeout);
  metrics.token_gap(0.02);
  metrics.token_gap(100.0);
  metrics.rejected("unknown_url");
  metrics.rejected("unknown_url");
  metrics.set_open_connections(9);
  const auto samples = parse(metrics.render(EngineStats(), "m"));
  const auto at = [&](const std::string& name, const std::string& more = "") {
    INFO(labelled(name, more));
    REQUIRE(samples.contains(labelled(name, more)));
    return samples.at(labelled(name, more));
  };
  CHECK(at("vllm:request_success_total", "finished_reason=\"stop\"") == 1);
  CHECK(at("vllm:request_success_total", "finished_reason=\"queue_timeout\"") == 1);
  CHECK(at("vllm:request_success_total", "finished_reason=\"length\"") == 0);
  CHECK(at("vllm:time_to_first_token_seconds_count") == 1);
  CHECK(at("vllm:time_to_first_token_seconds_bucket", "le=\"0.02\"") == 0);
  CHECK(at("vllm:time_to_first_token_seconds_bucket", "le=\"0.04\"") == 1);
  CHECK(at("vllm:inter_token_latency_seconds_bucket", "le=\"0.01\"") == 0);
  CHECK(at("vllm:inter_token_latency_seconds_bucket", "le=\"0.025\"") == 1);
  CHECK(at("vllm:inter_token_latency_seconds_bucket", "le=\"80\"") == 1);
  CHECK(at("vllm:inter_token_latency_seconds_bucket", "le=\"+Inf\"") == 2);
  CHECK(at("vllm:time_per_output_token_seconds_sum") == Approx(100.02));
  CHECK(at("vllm:e2e_request_latency_seconds_sum") == Approx(61.2));
  CHECK(at("vllm:request_queue_time_seconds_sum") == Approx(0.2));
  CHECK(at("vllm:request_prompt_tokens_bucket", "le=\"20\"") == 0);
  CHECK(at("vllm:request_prompt_tokens_bucket", "le=\"50\"") == 2);
  CHECK(at("vllm:request_generation_tokens_sum") == 5);
  CHECK(at("qwend:rejected_total", "code=\"unknown_url\"") == 2);
  CHECK(at("qwend:open_connections") == 9);
}

TEST_CASE("metrics: labels are escaped and their number is bounded", "[server][metrics]") {
  Metrics metrics;
  for (int i = 0; i < 1000; ++i) metrics.rejected("code" + std::to_string(i));
  const std::string text = metrics.render(EngineStats(), "a\"b\\c\nd");
  CHECK(text.find("vllm:num_requests_running{model_name=\"a\\\"b\\\\c\\nd\"} 0\n") != std::string::npos);
  const auto samples = parse(text);
  size_t codes = 0;
  for (const auto& [name, value] : samples) codes += name.starts_with("qwend:rejected_total") ? 1 : 0;
  CHECK(codes == 65);
  CHECK(samples.at("qwend:rejected_total{model_name=\"a\\\"b\\\\c\\nd\",code=\"other\"}") == 936);
}

TEST_CASE("metrics: the process and its engine's heartbeat", "[server][metrics]") {
  const Metrics metrics;
  const auto now = static_cast<double>(std::time(nullptr));
  const auto samples = parse(metrics.render(EngineStats(), "m", Clock::now() - std::chrono::seconds(20)));
  CHECK(samples.at(labelled("qwend:engine_last_step_timestamp")) == Approx(now - 20).margin(2));
  CHECK(samples.at("process_resident_memory_bytes") > 1e6);
  CHECK(samples.at("process_virtual_memory_bytes") > samples.at("process_resident_memory_bytes"));
  CHECK(samples.at("process_cpu_seconds_total") > 0);
  CHECK(samples.at("process_open_fds") >= 3);
  CHECK(samples.at("process_open_fds") <= samples.at("process_max_fds"));
  CHECK(samples.at("process_threads") >= 1);
  CHECK(samples.at("process_start_time_seconds") <= now + 1);
  CHECK(samples.at("process_start_time_seconds") > now - 86'400);
}

TEST_CASE("metrics: recording from many threads loses nothing, rendering meanwhile is sound",
          "[server][metrics]") {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        metrics.token_gap(0.001 * i);
        metrics.rejected("overloaded");
      }
    });
  }
  for (int i = 0; i < 5; ++i) parse(metrics.render(EngineStats(), "m"));
  for (std::thread& thread : threads) thread.join();
  const auto samples = parse(metrics.render(EngineStats(), "m"));
  CHECK(samples.at(labelled("vllm:inter_token_latency_seconds_count")) == 20'000);
  CHECK(samples.at(labelled("qwend:rejected_total", "code=\"overloaded\"")) == 20'000);
}

TEST_CASE("metrics: rendering takes milliseconds", "[server][metrics]") {
  const Metrics metrics;
  auto best = std::chrono::steady_clock::duration::max();
  for (int i = 0; i < 10; ++i) {
    const auto start = std::chrono::steady_clock::now();
    CHECK_FALSE(metrics.render(some_stats(), "m").empty());
    best = std::min(best, std::chrono::steady_clock::now() - start);
  }
  CHECK(best < std::chrono::milliseconds(10));
}

TEST_CASE("metrics: bucket bounds", "[server][metrics]") {
  CHECK(prometheus::buckets_1_2_5(100) == std::vector<double>{1, 2, 5, 10, 20, 50, 100});
  prometheus::Histogram histogram({1, 2});
  for (double value : {0.5, 1.0, 1.5, 2.0, 2.5}) histogram.observe(value);  // a bound belongs to its bucket
  prometheus::TextWriter out({});
  histogram.render(out, "h", "help");
  CHECK(out.take() ==
        "# HELP h help\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} "
        "4\nh_bucket{le=\"+Inf\"} 5\n"
        "h_sum 7.5\nh_count 5\n");
}
