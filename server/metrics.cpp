#include "server/metrics.h"

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

#include "engine/engine.h"
#include "server/process_stats.h"
#include "server/prometheus.h"
#include "server/version.h"

namespace qwend {

using prometheus::Histogram;
using prometheus::TextWriter;

namespace {

// vLLM's bounds in seconds, so that quantiles of both can be compared; below 10 ms, where a small model on a
// fast device lives, inter-token latency has bounds of its own.
const std::vector<double> kFirstTokenSeconds = {0.001, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08, 0.1,
                                                0.25,  0.5,   0.75, 1.0,   2.5,   5.0,   7.5,  10.0,
                                                20.0,  40.0,  80.0, 160.0, 640.0, 2560.0};
const std::vector<double> kTokenGapSeconds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                              0.1,    0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1.0,
                                              2.5,    5.0,   7.5,    10.0,  20.0, 40.0,  80.0};
const std::vector<double> kRequestSeconds = {0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,
                                             5.0,  10.0,  15.0,  20.0,  30.0,  40.0,   50.0,
                                             60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
constexpr double kMaxTokens = 1 << 20;

constexpr std::array<FinishReason, 6> kReasons = {FinishReason::Stop,         FinishReason::Length,
                                                  FinishReason::Cancelled,    FinishReason::Deadline,
                                                  FinishReason::QueueTimeout, FinishReason::Error};

std::string_view reason_label(FinishReason reason) {
  switch (reason) {
    case FinishReason::Stop: return "stop";
    case FinishReason::Length: return "length";
    case FinishReason::Cancelled: return "abort";
    case FinishReason::Deadline: return "deadline";
    case FinishReason::QueueTimeout: return "queue_timeout";
    case FinishReason::Error: return "error";
    case FinishReason::None: break;
  }
  return "";
}

// A counter with one label whose values are few; a flood of different ones ends in "other".
class LabelledCounter {
 public:
  explicit LabelledCounter(std::string_view label) : label_(label) {}
  void add(std::string_view value) {
    const std::lock_guard lock(mutex_);
    if (counts_.size() >= kMaxValues && counts_.find(value) == counts_.end()) value = "other";
    ++counts_[std::string(value)];
  }
  void render(TextWriter& out, std::string_view name, std::string_view help) const {
    out.family(name, "counter", help);
    const std::lock_guard lock(mutex_);
    for (const auto& [value, count] : counts_)
      out.sample(name, static_cast<double>(count), {{label_, value}});
  }

 private:
  static constexpr size_t kMaxValues = 64;
  const std::string label_;
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t, std::less<>> counts_;  // guarded by mutex_
};

// A histogram of which the engine keeps sum and count only.
void render_summed(TextWriter& out, const std::string& name, std::string_view help, double sum,
                   double count) {
  out.family(name, "histogram", help);
  out.sample(name + "_bucket", count, {{"le", "+Inf"}});
  out.sample(name + "_sum", sum);
  out.sample(name + "_count", count);
}

double unix_seconds(Clock::time_point when) {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(wall - (Clock::now() - when)).count();
}

}  // namespace

struct Metrics::Impl {
  Histogram first_token{kFirstTokenSeconds}, token_gap{kTokenGapSeconds};
  Histogram end_to_end{kRequestSeconds}, queue{kRequestSeconds}, prefill{kRequestSeconds},
      decode{kRequestSeconds};
  Histogram prompt_tokens{prometheus::buckets_1_2_5(kMaxTokens)},
      generation_tokens{prometheus::buckets_1_2_5(kMaxTokens)};
  std::array<std::atomic<uint64_t>, kReasons.size()> finished{};
  LabelledCounter rejected{"code"};
  std::atomic<int> open_connections{0};

  void render_engine(TextWriter& out, const EngineStats& stats) const;
  void render_requests(TextWriter& out) const;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::request_finished(const Usage& usage, const Timings& timings, double e2e_seconds,
                               FinishReason reason) {
  for (size_t i = 0; i < kReasons.size(); ++i) {
    if (kReasons[i] == reason) impl_->finished[i].fetch_add(1, std::memory_order_relaxed);
  }
  impl_->end_to_end.observe(e2e_seconds);
  impl_->queue.observe(timings.queue_ms / 1e3);
  impl_->prompt_tokens.observe(usage.prompt_tokens);
  impl_->generation_tokens.observe(usage.completion_tokens);
  if (usage.completion_tokens == 0) return;  // no first token to speak of
  impl_->first_token.observe(timings.ttft_ms / 1e3);
  impl_->prefill.observe(timings.prompt_ms / 1e3);
  impl_->decode.observe(timings.predicted_ms / 1e3);
}

void Metrics::token_gap(double seconds) { impl_->token_gap.observe(seconds); }
void Metrics::rejected(std::string_view code) { impl_->rejected.add(code); }
void Metrics::set_open_connections(int count) { impl_->open_connections = count; }

void Metrics::Impl::render_engine(TextWriter& out, const EngineStats& stats) const {
  const auto count = [](auto value) { return static_cast<double>(value); };
  const double usage = stats.blocks_total > 0 ? count(stats.blocks_used) / count(stats.blocks_total) : 0;
  out.value("vllm:num_requests_running", "gauge", "Requests being computed.", stats.running);
  out.value("vllm:num_requests_waiting", "gauge", "Requests waiting to start.", stats.waiting);
  out.value("vllm:kv_cache_usage_perc", "gauge", "Share of KV blocks in use; 1 is all.", usage);
  out.value("vllm:gpu_cache_usage_perc", "gauge",
            "The same as vllm:kv_cache_usage_perc, under its older name.", usage);
  out.value("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache.",
            count(stats.prefix_queries));
  out.value("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found in the prefix cache.",
            count(stats.prefix_hits));
  out.value("vllm:num_preemptions_total", "counter", "Sequences set back to waiting for want of KV blocks.",
            count(stats.preemptions));
  out.value("vllm:prompt_tokens_total", "counter", "Prompt tokens computed.", count(stats.prompt_tokens));
  out.value("vllm:generation_tokens_total", "counter", "Tokens generated.", count(stats.generation_tokens));
  render_summed(out, "vllm:iteration_tokens_total", "Tokens computed in one engine step.",
                count(stats.prompt_tokens + stats.generation_tokens), count(stats.steps));
  prometheus::render_histogram(out, "qwend:step_seconds", "Duration of one engine step.",
                               DurationHistogram::kBounds, stats.step_seconds.counts, stats.step_seconds.sum);
  out.value("qwend:schedule_seconds_total", "counter", "The host's time for scheduling steps.",
            stats.schedule_seconds);
  out.value("qwend:commit_seconds_total", "counter", "The host's time for turning results into text.",
            stats.commit_seconds);
  out.family("qwend:cancelled_total", "counter", "Requests cancelled, by the phase they were in.");
  out.sample("qwend:cancelled_total", count(stats.cancelled_queued), {{"phase", "queued"}});
  out.sample("qwend:cancelled_total", count(stats.cancelled_prefill), {{"phase", "prefill"}});
  out.sample("qwend:cancelled_total", count(stats.cancelled_decode), {{"phase", "decode"}});
  out.family("qwend:kv_blocks", "gauge", "KV blocks by state.");
  out.sample("qwend:kv_blocks", stats.blocks_used, {{"state", "used"}});
  out.sample("qwend:kv_blocks", stats.blocks_cached, {{"state", "cached"}});
  out.sample("qwend:kv_blocks", stats.blocks_free, {{"state", "free"}});
}

void Metrics::Impl::render_requests(TextWriter& out) const {
  out.family("vllm:request_success_total", "counter", "Requests that ended, by reason.");
  for (size_t i = 0; i < kReasons.size(); ++i) {
    out.sample("vllm:request_success_total", static_cast<double>(finished[i].load()),
               {{"finished_reason", reason_label(kReasons[i])}});
  }
  first_token.render(out, "vllm:time_to_first_token_seconds", "Time to the first token.");
  token_gap.render(out, "vllm:inter_token_latency_seconds", "Time between two tokens of a stream.");
  token_gap.render(out, "vllm:time_per_output_token_seconds",
                   "The same as vllm:inter_token_latency_seconds, under its older name.");
  end_to_end.render(out, "vllm:e2e_request_latency_seconds", "Time of a whole request.");
  queue.render(out, "vllm:request_queue_time_seconds", "Time that a request waited to start.");
  prefill.render(out, "vllm:request_prefill_time_seconds", "Time spent on a request's prompt.");
  decode.render(out, "vllm:request_decode_time_seconds", "Time from a request's first token to its last.");
  prompt_tokens.render(out, "vllm:request_prompt_tokens", "Prompt tokens of a request.");
  generation_tokens.render(out, "vllm:request_generation_tokens", "Tokens generated for a request.");
  rejected.render(out, "qwend:rejected_total", "Requests refused, by error code.");
  out.value("qwend:open_connections", "gauge", "Client connections.", open_connections.load());
}

std::string Metrics::render(const EngineStats& stats, std::string_view model_id,
                            std::optional<Clock::time_point> engine_heartbeat) const {
  TextWriter out({{"model_name", model_id}});
  impl_->render_engine(out, stats);
  if (engine_heartbeat) {
    out.value("qwend:engine_last_step_timestamp", "gauge",
              "Unix time of the engine loop's last turn, which it also takes when idle.",
              unix_seconds(*engine_heartbeat));
  }
  impl_->render_requests(out);
  out.family("qwend:build_info", "gauge", "Always 1; the label is the version.");
  out.sample("qwend:build_info", 1, {{"version", kVersion}});

  TextWriter process({});
  const ProcessStats self = read_process_stats();
  process.value("process_resident_memory_bytes", "gauge", "Resident memory.", self.resident_bytes);
  process.value("process_virtual_memory_bytes", "gauge", "Virtual memory.", self.virtual_bytes);
  process.value("process_cpu_seconds_total", "counter", "User and system CPU time.", self.cpu_seconds);
  process.value("process_open_fds", "gauge", "Open file descriptors.", self.open_fds);
  process.value("process_max_fds", "gauge", "Most file descriptors that may be open.", self.max_fds);
  process.value("process_threads", "gauge", "Threads.", self.threads);
  process.value("process_start_time_seconds", "gauge", "Unix time of the process's start.", self.start_time);
  return out.take() + process.take();
}

}  // namespace qwend
