#include "server/cli/inspect.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "engine/gguf/printable.h"
#include "engine/loader.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "kernels/quant/formats.h"
#include "server/cli/table.h"

namespace qwend::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kExitBadModel = 65;

struct FormatTotal {
  int64_t tensors = 0;
  int64_t parameters = 0;
  uint64_t bytes = 0;
};

// What serving would take on the CPU or on a GPU, with the defaults of `qwend serve` but for --kv-dtype; no
// device is asked.
struct Memory {
  uint64_t weights = 0;
  uint64_t kv_per_token = 0;    // all layers, keys and values
  uint64_t kv_per_context = 0;  // one sequence of the trained length
  uint64_t workspace = 0;       // activations, logits, scratch
  uint64_t half_copies = 0;     // where they take no more than kHalfCopiesShare; not counted together
  int32_t step_tokens = 0;
  uint64_t together() const { return weights + workspace + kv_per_context; }
};

struct Report {
  const gguf::File& file;
  std::map<std::string, FormatTotal> formats;
  FormatTotal total;
  std::optional<ModelConfig> config;  // absent: the metadata is not usable, see problems
  std::string chat_template;
  Memory cpu, gpu;
  std::vector<std::string> problems;
};

// ---- gathering

template <class Check>
void collect_problem(Report& report, Check&& check) {
  try {
    check();
  } catch (const LoadError& error) {
    std::string_view text = error.what();
    const std::string prefix = report.file.path() + ": ";
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
    report.problems.emplace_back(text);
  }
}

void count_formats(Report& report) {
  for (const gguf::TensorInfo& tensor : report.file.tensors()) {
    for (FormatTotal* sum : {&report.formats[format_info(tensor.dtype).name], &report.total}) {
      ++sum->tensors;
      sum->parameters += tensor.elements();
      sum->bytes += tensor.bytes;
    }
  }
}

Memory memory_of(const ModelConfig& config, uint64_t weight_bytes, KvDType kv_dtype, bool gpu) {
  Memory memory;
  memory.weights = weight_bytes;
  memory.kv_per_token =
      KvCacheSpec{config.num_layers, 0, kBlockSize, config.num_kv_heads, config.head_dim, kv_dtype}
          .bytes_per_token();
  memory.kv_per_context = memory.kv_per_token * static_cast<uint64_t>(config.context_length);
  memory.step_tokens = default_batch_tokens(gpu);
  memory.workspace = predicted_workspace(config, memory.step_tokens, EngineConfig{}.max_logit_rows(), gpu);
  return memory;
}

Report inspect(const gguf::File& file, std::optional<KvDType> kv_dtype) {
  Report report{file, {}, {}, {}, {}, {}, {}, {}};
  count_formats(report);
  collect_problem(report, [&] { report.config = ModelConfig::from_metadata(file); });
  if (report.config) {
    for (std::string& problem : check_tensors(file, *report.config))
      report.problems.push_back(std::move(problem));
    const auto cached = [&](bool gpu) {
      return kv_dtype.value_or(default_kv_dtype(gpu, has_quantised_weights(file)));
    };
    report.cpu = memory_of(*report.config, report.total.bytes, cached(false), false);
    report.gpu = memory_of(*report.config, predicted_gpu_weights(file), cached(true), true);
    report.gpu.half_copies = predicted_half_copies(file, *report.config);
  }
  collect_problem(report, [&] { Tokenizer{Vocabulary::from_gguf(file)}; });
  collect_problem(report, [&] {
    const auto chat_template =
        ChatTemplate::recognise(file.find_string("tokenizer.chat_template").value_or(""),
                                file.find_string("general.architecture").value_or(""));
    report.chat_template = name_of(chat_template.family());
    if (!chat_template.warning().empty()) report.chat_template += ": " + chat_template.warning();
  });
  return report;
}

// ---- printing

std::string fixed(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

std::string mebibytes(uint64_t bytes) { return fixed(static_cast<double>(bytes) / (1 << 20), 2); }

std::string parameters_text(int64_t count) {
  if (count >= 1'000'000'000) return fixed(static_cast<double>(count) / 1e9, 2) + " B";
  if (count >= 1'000'000) return fixed(static_cast<double>(count) / 1e6, 1) + " M";
  return std::to_string(count);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t dim : shape) text += (text.empty() ? "" : " x ") + std::to_string(dim);
  return text;
}

std::string type_text(const gguf::Entry& entry) {
  if (entry.type != gguf::ValueType::Array) return gguf::name_of(entry.type);
  return std::string(gguf::name_of(entry.element_type)) + "[" + std::to_string(entry.count) + "]";
}

void print_metadata(const Report& report, std::ostream& out) {
  Table table({"key", "type", "value"});
  for (const gguf::Entry& entry : report.file.entries()) {
    table.add({std::string(entry.key), type_text(entry), report.file.preview(entry)});
  }
  out << "Metadata: " << report.file.entries().size() << " keys\n";
  table.print(out);
}

void print_tensors(const Report& report, std::ostream& out) {
  Table table({"tensor", "shape", "format", "MiB"}, {3});
  for (const gguf::TensorInfo& tensor : report.file.tensors()) {
    table.add({std::string(tensor.name), shape_text(tensor.shape), format_info(tensor.dtype).name,
               mebibytes(tensor.bytes)});
  }
  out << "\nTensors: " << report.file.tensors().size() << "\n";
  table.print(out);
}

void print_formats(const Report& report, std::ostream& out) {
  Table table({"format", "tensors", "parameters", "MiB", "bits/weight"}, {1, 2, 3, 4});
  const auto add = [&](const std::string& name, const FormatTotal& sum) {
    const double bits =
        sum.parameters ? 8.0 * static_cast<double>(sum.bytes) / static_cast<double>(sum.parameters) : 0;
    table.add({name, std::to_string(sum.tensors), parameters_text(sum.parameters), mebibytes(sum.bytes),
               fixed(bits, 2)});
  };
  for (const auto& [name, sum] : report.formats) add(name, sum);
  add("total", report.total);
  out << "\nFormats\n";
  table.print(out);
}

void print_model(const Report& report, std::ostream& out) {
  const ModelConfig& c = *report.config;
  Table table({"model", ""});
  table.add({"name", gguf::quoted(c.name)});
  table.add({"architecture", std::string(c.arch->name)});
  table.add({"parameters", parameters_text(report.total.parameters)});
  table.add({"layers", std::to_string(c.num_layers)});
  table.add({"embedding", std::to_string(c.embedding) + (c.tied_output ? ", shared with the output" : "")});
  table.add({"attention", std::to_string(c.num_heads) + " heads of " + std::to_string(c.head_dim) + ", " +
                              std::to_string(c.num_kv_heads) + " of keys and values"});
  if (c.arch->moe) {
    table.add({"experts", std::to_string(c.moe.num_used) + " of " + std::to_string(c.moe.num_experts) +
                              ", width " + std::to_string(c.moe.expert_ffn)});
  } else {
    table.add({"feed-forward", std::to_string(c.ffn)});
  }
  table.add({"vocabulary", std::to_string(c.vocab)});
  table.add({"context", std::to_string(c.context_length)});
  table.add({"chat template", report.chat_template});
  out << "\n";
  table.print(out);
}

void print_memory(const Report& report, std::ostream& out) {
  const Memory &cpu = report.cpu, &gpu = report.gpu;
  Table table({"memory", "MiB on the CPU", "on a GPU"}, {1, 2});
  const auto add = [&](const std::string& what, uint64_t Memory::*bytes, int decimals = 2) {
    const auto text = [&](const Memory& m) {
      return fixed(static_cast<double>(m.*bytes) / (1 << 20), decimals);
    };
    table.add({what, text(cpu), text(gpu)});
  };
  add("weights", &Memory::weights);
  table.add({"workspace, steps of " + std::to_string(cpu.step_tokens) + " and " +
                 std::to_string(gpu.step_tokens) + " tokens",
             mebibytes(cpu.workspace), mebibytes(gpu.workspace)});
  add("KV cache, a token", &Memory::kv_per_token, 4);
  add("KV cache, " + std::to_string(report.config->context_length) + " tokens", &Memory::kv_per_context);
  table.add({"together", mebibytes(cpu.together()), mebibytes(gpu.together())});
  if (gpu.half_copies > 0)
    add("FP16 copies, if " + fixed(100 * kHalfCopiesShare, 0) + "% of free memory holds them",
        &Memory::half_copies);
  out << "\n";
  table.print(out);
}

void print_report(const Report& report, std::ostream& out) {
  out << report.file.path() << ": GGUF version " << report.file.version() << ", "
      << mebibytes(report.file.total_bytes()) << " MiB\n\n";
  print_metadata(report, out);
  print_tensors(report, out);
  print_formats(report, out);
  if (report.config) {
    print_model(report, out);
    print_memory(report, out);
  }
  out << "\n";
  if (report.problems.empty()) out << "No problems found.\n";
  for (const std::string& problem : report.problems) out << "problem: " << problem << "\n";
}

// ---- JSON

Json model_json(const Report& report) {
  const ModelConfig& c = *report.config;
  Json json = {
      {"name", c.name}, {"architecture", c.arch->name}, {"layers", c.num_layers}, {"embedding", c.embedding}};
  json.update(
      {{"heads", c.num_heads}, {"kv_heads", c.num_kv_heads}, {"head_dim", c.head_dim}, {"ffn", c.ffn}});
  if (c.arch->moe) {
    json["experts"] = {{"count", c.moe.num_experts}, {"used", c.moe.num_used}, {"ffn", c.moe.expert_ffn}};
  }
  json.update({{"vocabulary", c.vocab}, {"context", c.context_length}, {"tied_output", c.tied_output}});
  json["chat_template"] = report.chat_template;
  return json;
}

Json memory_json(const Memory& memory) {
  return {{"weights", memory.weights},           {"workspace", memory.workspace},
          {"half_copies", memory.half_copies},   {"step_tokens", memory.step_tokens},
          {"kv_per_token", memory.kv_per_token}, {"kv_per_context", memory.kv_per_context},
          {"together", memory.together()}};
}

Json to_json(const Report& report) {
  const gguf::File& file = report.file;
  Json json = {{"path", file.path()}, {"version", file.version()}, {"bytes", file.total_bytes()}};
  json["parameters"] = report.total.parameters;
  for (const gguf::Entry& entry : file.entries()) {
    json["metadata"].push_back(
        {{"key", entry.key}, {"type", type_text(entry)}, {"value", file.preview(entry)}});
  }
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"shape", tensor.shape},
                               {"format", format_info(tensor.dtype).name},
                               {"bytes", tensor.bytes}});
  }
  for (const auto& [name, sum] : report.formats) {
    json["formats"][name] = {{"tensors", sum.tensors}, {"parameters", sum.parameters}, {"bytes", sum.bytes}};
  }
  if (report.config) {
    json["model"] = model_json(report);
    json["memory"] = {{"cpu", memory_json(report.cpu)}, {"gpu", memory_json(report.gpu)}};
  }
  json["problems"] = report.problems;
  return json;
}

}  // namespace

int run_inspect(const gguf::File& file, bool json, std::ostream& out, std::optional<KvDType> kv_dtype) {
  const Report report = inspect(file, kv_dtype);
  if (json) {
    out << to_json(report).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    print_report(report, out);
  }
  return report.problems.empty() ? 0 : kExitBadModel;
}

int run_inspect(const std::string& model_path, bool json, std::ostream& out,
                std::optional<KvDType> kv_dtype) {
  return run_inspect(gguf::File::open(model_path), json, out, kv_dtype);
}

}  // namespace qwend::cli
