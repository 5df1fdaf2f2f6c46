#include "server/cli/bench_report.h"

#include <cstdio>
#include <fstream>
#include <sstream>

#include "server/commit.h"
#include "server/version.h"

namespace qwend::cli {
namespace {

// "580.159.04", or nothing where the kernel module does not tell.
std::string nvidia_driver() {
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line;
  std::getline(in, line);
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const bool version = word.find_first_not_of("0123456789.") == std::string::npos;
    if (version && word.find('.') != std::string::npos) return word;
  }
  return {};
}

nlohmann::ordered_json device_json(const BenchSetting& setting) {
  nlohmann::ordered_json device{{"label", setting.device.label()}, {"name", setting.device_name}};
  if (const auto& cuda = setting.device.cuda) {
    device["driver"] = nvidia_driver();
    device["compute_capability"] = std::to_string(cuda->major) + "." + std::to_string(cuda->minor);
    device["memory_bytes"] = cuda->total_bytes;
  } else {
    device["threads"] = setting.threads;
  }
  return device;
}

template <class T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

// Bytes of the file a second.
double load_bandwidth(const BenchSetting& setting) {
  return static_cast<double>(setting.model_bytes) / setting.load_seconds;
}

void print_head(const BenchSetting& setting) {
  const Yardstick& y = setting.yardstick;
  const bool gpu = setting.device.is_cuda();
  std::printf("model      %s (%.2f GB)\n", setting.model.c_str(),
              static_cast<double>(setting.model_bytes) / 1e9);
  std::printf("device     %s\n", setting.device_name.c_str());
  std::printf("load       %.2f s (%.2f GB/s), first token after %.2f s\n", setting.load_seconds,
              load_bandwidth(setting) / 1e9, setting.first_token_seconds);
  std::printf("memory     %.1f GB/s read\n", y.read_bandwidth / 1e9);
  if (y.gemm_flops) {
    std::printf("products   %.*f %s (%s)\n\n", gpu ? 1 : 0, *y.gemm_flops / (gpu ? 1e12 : 1e9),
                gpu ? "TFLOP/s" : "GFLOP/s", y.gemm.c_str());
  } else {
    std::printf("products   not measured: libopenblas.so.0 is not installed\n\n");
  }
  std::printf("%-18s %7s %20s %12s %10s %10s %8s %8s   %s\n", "test", "streams", "tokens/s", "of the limit",
              "us/step", "busy", "gap", "host", "reads, computes");
}

std::string microseconds(double us, bool measured) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", us);
  return measured ? text : "-";
}

void print_row(const BenchFigure& f, const BenchSetting& setting) {
  const auto share = f.share_of_limit(setting);
  const bool timed = f.busy_us > 0;
  std::printf("%-18s %7d %11.1f +- %-5.1f %11.1f%% %10.1f %10s %8s %8.1f   ", f.test.c_str(), f.streams,
              f.tokens_per_second, f.deviation, 100 * share.value_or(0), f.step_us,
              microseconds(f.busy_us, timed).c_str(), microseconds(f.gap_us, timed).c_str(), f.host_us);
  if (f.bytes_per_token > 0) std::printf("%.1f GB/s, ", f.bytes_per_token * f.tokens_per_second / 1e9);
  std::printf("%.*f GFLOP/s\n", setting.device.is_cuda() ? 0 : 1,
              f.flops_per_token * f.tokens_per_second / 1e9);
  std::fflush(stdout);
}

}  // namespace

std::optional<double> BenchFigure::share_of_limit(const BenchSetting& setting) const {
  const Yardstick& y = setting.yardstick;
  const bool decode = bytes_per_token > 0;
  const bool count_flops = !decode || setting.device.is_cuda();  // a CPU's integer products are not sgemm's
  if (count_flops && !y.gemm_flops) return std::nullopt;
  double seconds = bytes_per_token / y.read_bandwidth;
  if (count_flops) seconds += flops_per_token / *y.gemm_flops;
  return seconds * tokens_per_second;
}

BenchReport::BenchReport(BenchSetting setting, bool json) : setting_(std::move(setting)), as_json_(json) {
  const Yardstick& y = setting_.yardstick;
  json_ = {{"model", setting_.model},
           {"model_bytes", setting_.model_bytes},
           {"device", device_json(setting_)},
           {"version", kVersion},
           {"commit", kCommit},
           {"load_seconds", setting_.load_seconds},
           {"load_bandwidth", load_bandwidth(setting_)},
           {"first_token_seconds", setting_.first_token_seconds},
           {"read_bandwidth", y.read_bandwidth},
           {"gemm_flops", or_null(y.gemm_flops)},
           {"gemm", y.gemm},
           {"context", setting_.ctx},
           {"ubatch", setting_.ubatch},
           {"results", nlohmann::ordered_json::array()},
           {"mixed", nlohmann::ordered_json::array()}};
  if (!as_json_) print_head(setting_);
}

void BenchReport::add(const BenchFigure& f) {
  if (!as_json_) print_row(f, setting_);
  json_["results"].push_back({{"test", f.test},
                              {"streams", f.streams},
                              {"tokens_per_second", f.tokens_per_second},
                              {"deviation", f.deviation},
                              {"share_of_limit", or_null(f.share_of_limit(setting_))},
                              {"bytes_per_token", f.bytes_per_token},
                              {"flops_per_token", f.flops_per_token},
                              {"step_us", f.step_us},
                              {"busy_us", f.busy_us},
                              {"gap_us", f.gap_us},
                              {"host_us", f.host_us}});
}

void BenchReport::add(const MixedFigure& f) {
  json_["mixed"].push_back({{"streams", f.streams},
                            {"context", f.context},
                            {"prompt", f.prompt},
                            {"tokens_per_second_alone", f.alone},
                            {"tokens_per_second_beside", f.beside},
                            {"prompt_tokens_per_second", f.prompt_rate},
                            {"longest_gap_alone_ms", 1e3 * f.alone_gap},
                            {"longest_gap_beside_ms", 1e3 * f.beside_gap}});
  if (as_json_) return;
  if (!mixed_head_) {
    std::printf("\nprompts among decoding streams\n%-18s %7s %14s %14s %16s %12s %12s\n", "test", "streams",
                "alone, tokens/s", "beside", "prompt, tokens/s", "gap alone ms", "gap beside");
    mixed_head_ = true;
  }
  std::printf("%-18s %7d %15.1f %14.1f %16.1f %12.1f %12.1f\n", ("mixed" + std::to_string(f.prompt)).c_str(),
              f.streams, f.alone, f.beside, f.prompt_rate, 1e3 * f.alone_gap, 1e3 * f.beside_gap);
  std::fflush(stdout);
}

void BenchReport::finish() const {
  if (as_json_) std::printf("%s\n", json_.dump(2).c_str());
}

}  // namespace qwend::cli
