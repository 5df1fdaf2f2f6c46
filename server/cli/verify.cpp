#include "server/cli/verify.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "engine/device.h"
#include "engine/memory_plan.h"
#include "engine/text/tokenizer.h"
#include "engine/verify/verify.h"
#include "server/cli/options.h"
#include "server/cli/table.h"
#include "server/embedded_model.h"

namespace qwend::cli {
namespace {

using Json = nlohmann::ordered_json;
using verify::Outcome;
using verify::Report;
using verify::Stage;
using verify::StageInfo;

constexpr int kExitDiffers = 1;
constexpr uint64_t kSampleAbove = uint64_t{2} << 30;  // bytes of a file whose tensors are checked by samples

// ---- printing

// What the table says about a stage: its largest error relative to the tolerance, over all layers.
struct Line {
  const StageInfo* stage = nullptr;
  const Outcome* shown = nullptr;  // the first that failed, else the largest error
  int64_t compared = 0;
  int64_t failed = 0;
};

std::vector<Line> lines_of(const Report& report) {
  std::vector<Line> lines;
  for (const StageInfo& stage : verify::stages()) {
    Line line{&stage};
    for (const Outcome& outcome : report.outcomes) {
      if (outcome.stage != stage.stage) continue;
      line.compared += outcome.compared;
      const bool first = line.shown == nullptr;
      if (!outcome.passed()) {
        if (line.failed++ == 0) line.shown = &outcome;
      } else if (first || (line.failed == 0 && outcome.error > line.shown->error)) {
        line.shown = &outcome;
      }
    }
    if (line.shown != nullptr) lines.push_back(line);
  }
  return lines;
}

std::string figure(double value) {
  if (value == 0.0) return "0";
  char text[32];
  std::snprintf(text, sizeof text, std::abs(value) >= 1.0 && value == std::floor(value) ? "%.0f" : "%.1e",
                value);
  return text;
}

const char* name_of(verify::Numerics numerics) {
  switch (numerics) {
    case verify::Numerics::Exact: return "exact";
    case verify::Numerics::Fast: return "fast";
    case verify::Numerics::Half: return "half";
  }
  return "";
}

Json to_json(const Outcome& outcome) {
  const auto number = [](double v) { return std::isfinite(v) ? Json(v) : Json("inf"); };
  Json json = {{"error", number(outcome.error)},
               {"tolerance", outcome.tolerance},
               {"compared", outcome.compared},
               {"passed", outcome.passed()}};
  const verify::Place& place = outcome.place;
  if (!place.tensor.empty()) json["tensor"] = place.tensor;
  if (place.layer >= 0) json["layer"] = place.layer;
  if (place.head >= 0) json["head"] = place.head;
  if (place.sequence >= 0) json["sequence"] = place.sequence;
  if (place.position >= 0) json["position"] = place.position;
  if (!outcome.detail.empty()) json["detail"] = outcome.detail;
  return json;
}

// A line on standard error while a phase runs: only on a terminal.
struct Progress {
  explicit Progress(std::string name) : phase(std::move(name)), terminal(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (terminal) std::fputs("\r\033[K", stderr);
  }
  void update(uint64_t done, uint64_t total) {
    const int now = total == 0 ? 100 : static_cast<int>(done * 100 / total);
    if (!terminal || now == percent) return;
    percent = now;
    std::fprintf(stderr, "\r%s %3d%%", phase.c_str(), percent);
    std::fflush(stderr);
  }
  const std::string phase;
  const bool terminal;
  int percent = -1;
};

// ---- input

std::vector<std::vector<int32_t>> tokenise(const VerifyOptions& options, const gguf::File& file) {
  const Tokenizer tokenizer(Vocabulary::from_gguf(file));
  std::vector<std::vector<int32_t>> prompts;
  const auto add = [&](std::string_view text) {
    std::vector<int32_t> tokens = tokenizer.encode(text, Specials::None);
    if (!tokens.empty()) prompts.push_back(std::move(tokens));
  };
  if (!options.prompt.empty()) add(options.prompt);
  for (const std::string_view text : verify::default_prompts()) {
    if (options.prompt.empty() || text != verify::default_prompts().front()) add(text);
  }
  return prompts;
}

}  // namespace

void print_verify_report(const Report& report, bool colour, std::ostream& out) {
  const Outcome* failure = report.first_failure();
  out << report.model << " (" << report.architecture << ", " << report.num_layers << " layers) on "
      << report.device << "\nagainst the FP32 reference: " << report.num_positions << " positions of "
      << report.num_sequences << " sequences, the longest of " << report.longest_sequence
      << "; tolerances for " << name_of(report.numerics) << " arithmetic\n\n";
  Table table({"stage", "compared", "largest error", "tolerance", "", "where"}, {1, 2, 3});
  const std::vector<Line> lines = lines_of(report);
  for (const Line& line : lines) {
    table.add({line.stage->title, std::to_string(line.compared), figure(line.shown->error),
               figure(line.shown->tolerance), line.failed > 0 ? "FAILED" : "ok",
               line.shown->error > 0.0 ? text(line.shown->place) : ""});
  }
  std::ostringstream plain;
  table.print(plain);
  std::istringstream rows(plain.str());
  std::string row;
  for (size_t i = 0; std::getline(rows, row); ++i) {
    const bool red = colour && failure != nullptr && i > 0 && lines[i - 1].stage->stage == failure->stage;
    out << (red ? "\033[31m" : "") << row << (red ? "\033[0m" : "") << "\n";
  }
  out << "\n";
  for (const std::string& note : report.notes) out << "note: " << note << "\n";
  if (failure == nullptr) {
    out << "Everything is within its tolerance.\n";
    return;
  }
  out << "First difference: " << info(failure->stage).title << ", " << text(failure->place) << "\n  error "
      << figure(failure->error) << ", tolerance " << figure(failure->tolerance);
  if (!failure->detail.empty()) out << "\n  " << failure->detail;
  out << "\n";
}

std::string verify_report_json(const Report& report) {
  Json json = {{"model", report.model},
               {"architecture", report.architecture},
               {"device", report.device},
               {"numerics", name_of(report.numerics)},
               {"layers", report.num_layers},
               {"sequences", report.num_sequences},
               {"positions", report.num_positions},
               {"passed", report.passed()},
               {"first_failure", nullptr},
               {"stages", Json::array()},
               {"notes", report.notes}};
  if (const Outcome* failure = report.first_failure()) {
    json["first_failure"] = to_json(*failure);
    json["first_failure"]["stage"] = info(failure->stage).id;
  }
  for (const Line& line : lines_of(report)) {
    Json stage = {{"id", line.stage->id},
                  {"title", line.stage->title},
                  {"unit", line.stage->unit},
                  {"passed", line.failed == 0},
                  {"outcomes", Json::array()}};
    for (const Outcome& outcome : report.outcomes) {
      if (outcome.stage == line.stage->stage) stage["outcomes"].push_back(to_json(outcome));
    }
    json["stages"].push_back(std::move(stage));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

int run_verify(const VerifyOptions& options, std::ostream& out) {
  const gguf::File file = open_model(options.model);
  verify::Settings settings;
  settings.prompts = tokenise(options, file);
  const Device device = find_device(DeviceChoice::parse(options.device).value_or(DeviceChoice{}));
  const auto backend = make_backend(device, {verify::kMaxTokens, verify::kMaxTokens, options.threads});
  settings.kv_dtype =
      kv_dtype_of(options.kv_dtype).value_or(default_kv_dtype(device.is_cuda(), has_quantised_weights(file)));
  settings.numerics =
      device.is_cuda() || settings.kv_dtype == KvDType::F16 ? verify::Numerics::Half : verify::Numerics::Fast;
  settings.threads = options.threads;
  settings.all_weights = options.full || file.total_bytes() <= kSampleAbove;
  std::optional<Progress> progress;  // of the current phase
  settings.progress = [&](const char* what, uint64_t done, uint64_t total) {
    if (!progress || progress->phase != what) progress.emplace(what);
    progress->update(done, total);
  };
  Report report = verify::run(file, *backend, settings);
  progress.reset();
  if (!settings.all_weights) {
    report.notes.insert(report.notes.begin(),
                        "weights: a sample of each tensor's rows; --full checks all of them");
  }
  if (options.json) {
    out << verify_report_json(report) << "\n";
  } else {
    print_verify_report(report, isatty(STDOUT_FILENO) != 0, out);
  }
  return report.passed() ? 0 : kExitDiffers;
}

}  // namespace qwend::cli
