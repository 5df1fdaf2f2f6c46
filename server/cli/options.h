// The settings of each command, with their defaults. options.cpp declares them once for all three sources.
#pragma once
#include <optional>
#include <string>

#include "engine/loader.h"
#include "server/cli/option_table.h"

namespace qwend::cli {

// Which model, on what, with how much memory: shared by serve, chat and bench.
struct ModelOptions {
  std::string model;  // path of a GGUF file; empty: the embedded demo model
  std::string device = "auto";
  int threads = 0;     // CPU backend; 0: one a core
  int ctx = 0;         // longest prompt + output in tokens; 0: what the model was trained for, at most 32,768
  int max_seqs = 256;  // sequences running at once
  int max_batch_tokens = 0;  // token budget of a step; 0: 2,048 on a GPU, 512 on the CPU
  double kv_cache_gb = 0;    // 0: see kv_blocks
  int kv_blocks = 0;         // 0: by free memory, see plan_memory()
  double gpu_memory_fraction = MemorySettings{}.gpu_memory_fraction;
  std::string kv_dtype = "auto";
  bool no_prefix_cache = false;
  LoadSettings load_settings() const;
};
void add_model_options(OptionTable& table, ModelOptions& options);
// --device alone, for commands without the rest; its text is one that DeviceChoice::parse() knows.
void add_device_option(OptionTable& table, std::string& device);
// --kv-dtype alone. kv_dtype_of() its text: none for auto, which is default_kv_dtype().
void add_kv_dtype_option(OptionTable& table, std::string& kv_dtype);
std::optional<KvDType> kv_dtype_of(const std::string& kv_dtype);

struct ServeOptions {
  ModelOptions model;
  std::string alias;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string api_key_file;
  bool allow_unauthenticated = false;
  std::string cors_origins;  // comma-separated
  int max_connections = 1024;
  int max_queue = 256;
  double max_body_mb = 16;
  double queue_timeout = 60;  // seconds, as all times below
  double request_timeout = 600;
  double drain_timeout = 30;
  double write_timeout = 60;
  double ping_interval = 15;
  std::string sampling_defaults = "model";
  std::string reasoning_field = "reasoning_content";
  bool strict_params = false;
  std::string log_format = "text";
  std::string log_level = "info";
};
void add_serve_options(OptionTable& table, ServeOptions& options);

}  // namespace qwend::cli
