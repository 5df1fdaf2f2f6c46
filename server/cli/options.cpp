#include "server/cli/options.h"

namespace qwend::cli {

void add_device_option(OptionTable& table, std::string& device) {
  const CLI::Validator is_device(
      [](const std::string& text) {
        return DeviceChoice::parse(text) ? std::string()
                                         : "'" + text + "' is none of auto, cpu, cuda, cuda:0, cuda:1, ...";
      },
      "DEVICE");
  table.add("device", device, "where to run: auto (a CUDA GPU, else the CPU), cpu, cuda or cuda:N")
      ->check(is_device);
}

void add_kv_dtype_option(OptionTable& table, std::string& kv_dtype) {
  table
      .add("kv-dtype", kv_dtype,
           "format of keys and values: auto (f16, but f32 on the CPU for unquantised weights), f16 or f32 "
           "(twice the memory)")
      ->check(CLI::IsMember({"auto", "f16", "f32"}));
}
std::optional<KvDType> kv_dtype_of(const std::string& kv_dtype) {
  if (kv_dtype == "auto") return {};
  return kv_dtype == "f32" ? KvDType::F32 : KvDType::F16;
}

void add_model_options(OptionTable& table, ModelOptions& o) {
  table.add("model", o.model,
            "GGUF file (any shard of a split one); without it the embedded demo model runs");
  add_device_option(table, o.device);
  table.add("threads", o.threads, "CPU threads, 0 for one a core")->check(CLI::Range(0, 1024));
  table.add("ctx", o.ctx, "longest prompt + output in tokens, 0 for the trained length (at most 32768)")
      ->check(CLI::Range(0, 1 << 24));
  table.add("max-seqs", o.max_seqs, "sequences generated at once")->check(CLI::Range(1, 4096));
  table
      .add("max-batch-tokens", o.max_batch_tokens,
           "tokens computed in one step; longer prompts are cut into chunks; 0 for 2048 on a GPU, 512 on the "
           "CPU")
      ->check(CLI::Range(0, 65536));
  table
      .add("kv-cache-gb", o.kv_cache_gb,
           "memory for keys and values in GB, 0 for gpu-memory-fraction's rest, or four full contexts on the "
           "CPU")
      ->check(CLI::NonNegativeNumber);
  table.add("kv-blocks", o.kv_blocks, "the same in blocks of 16 tokens")->check(CLI::NonNegativeNumber);
  table
      .add("gpu-memory-fraction", o.gpu_memory_fraction,
           "share of the GPU's memory that weights, workspace, keys and values may take together")
      ->check(CLI::Range(0.05, 1.0));
  add_kv_dtype_option(table, o.kv_dtype);
  table.add_flag("no-prefix-cache", o.no_prefix_cache, "compute every prompt from its start");
}

LoadSettings ModelOptions::load_settings() const {
  LoadSettings s;
  s.device = DeviceChoice::parse(device).value_or(DeviceChoice{});
  s.threads = threads;
  s.max_batch_tokens = max_batch_tokens;
  s.memory.ctx = ctx;
  s.memory.max_seqs = max_seqs;
  s.memory.kv_cache_bytes = static_cast<uint64_t>(kv_cache_gb * 1e9);
  s.memory.kv_blocks = kv_blocks;
  s.memory.gpu_memory_fraction = gpu_memory_fraction;
  s.memory.kv_dtype = kv_dtype_of(kv_dtype);
  s.prefix_cache = !no_prefix_cache;
  return s;
}

void add_serve_options(OptionTable& table, ServeOptions& o) {
  add_model_options(table, o.model);
  table.add("alias", o.alias, "name of the model in the API (default: the file's name)");
  table.add("host", o.host, "address to listen on; a public one needs API keys");
  table.add("port", o.port, "port to listen on, 0 for any free one")->check(CLI::Range(0, 65535));
  table.add("api-key-file", o.api_key_file,
            "file with one key, or name:key, a line (QWEND_API_KEYS works too)");
  table.add_flag("allow-unauthenticated", o.allow_unauthenticated, "listen on a public address without keys");
  table.add("cors-origins", o.cors_origins, "origins that browsers may call from, comma-separated");
  table.add("max-connections", o.max_connections, "open connections; one more is answered 503")
      ->check(CLI::Range(1, 65536));
  table.add("max-queue", o.max_queue, "waiting requests; one more is answered 429")
      ->check(CLI::Range(1, 1 << 20));
  table.add("max-body-mb", o.max_body_mb, "largest request body in MB")->check(CLI::PositiveNumber);
  table.add("queue-timeout", o.queue_timeout, "seconds a request may wait to start, then 503")
      ->check(CLI::PositiveNumber);
  table.add("request-timeout", o.request_timeout, "seconds a request may take in all")
      ->check(CLI::PositiveNumber);
  table.add("drain-timeout", o.drain_timeout, "seconds that running requests have to end after SIGTERM")
      ->check(CLI::NonNegativeNumber);
  table.add("write-timeout", o.write_timeout, "seconds a client may stop reading its stream")
      ->check(CLI::PositiveNumber);
  table.add("ping-interval", o.ping_interval, "seconds of silence before a comment keeps a stream alive")
      ->check(CLI::PositiveNumber);
  table
      .add("sampling-defaults", o.sampling_defaults,
           "model: the file's or its family's; openai: temperature 1, top_p 1")
      ->check(CLI::IsMember({"model", "openai"}));
  table
      .add("reasoning-field", o.reasoning_field,
           "what chat messages call the model's reasoning: reasoning_content, or both (reasoning too)")
      ->check(CLI::IsMember({"reasoning_content", "both"}));
  table.add_flag("strict-params", o.strict_params, "refuse unknown request parameters");
  table.add("log-format", o.log_format, "text or json")->check(CLI::IsMember({"text", "json"}));
  table.add("log-level", o.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
}

}  // namespace qwend::cli
