#include "server/cli/serve.h"

#include <spdlog/spdlog.h>
#include <sysexits.h>

#include <iostream>
#include <optional>
#include <sstream>
#include <thread>

#include "engine/loader.h"
#include "server/app.h"
#include "server/auth.h"
#include "server/cli/progress.h"
#include "server/cli/shutdown_watch.h"
#include "server/embedded_model.h"
#include "server/http/http_server.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/version.h"

namespace qwend::cli {
namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

http::Limits limits_of(const ServeOptions& options) {
  http::Limits limits;
  limits.max_connections = options.max_connections;
  limits.max_body = static_cast<size_t>(options.max_body_mb * (1 << 20));
  limits.write_stall = milliseconds(options.write_timeout);
  return limits;
}

LogFormat log_format(const ServeOptions& options) {
  return options.log_format == "json" ? LogFormat::Json : LogFormat::Text;
}

ApiKeys read_keys(const ServeOptions& options) {
  ApiKeys keys;
  if (!options.api_key_file.empty()) keys.add_file(options.api_key_file);
  keys.add_environment("QWEND_API_KEYS");
  if (keys.empty() && !is_loopback(options.host) && !options.allow_unauthenticated) {
    throw LoadError(
        "host " + options.host +
        ": a public address needs API keys (--api-key-file or QWEND_API_KEYS), or --allow-unauthenticated");
  }
  return keys;
}

LoadedModel load(const ServeOptions& options) {
  const gguf::File file = open_model(options.model.model);
  LoadSettings settings = options.model.load_settings();
  settings.max_queue = options.max_queue;
  ProgressBar bar("loading");
  LoadedModel model =
      load_model(file, settings, [&](uint64_t done, uint64_t total) { bar.update(done, total); });
  if (!options.alias.empty()) model.info.id = options.alias;
  return model;
}

void describe(const LoadedModel& model) {
  const ModelInfo& info = model.info;
  spdlog::info("model {}: {}, {:.2f} B parameters, {}, {:.2f} GB", info.id, info.architecture,
               static_cast<double>(info.num_params) / 1e9, info.quantisation,
               static_cast<double>(info.file_bytes) / 1e9);
  const MemoryPlan& plan = model.plan;
  const std::string copies =
      plan.use.half_copies > 0 ? ", FP16 copies " + gigabytes(plan.use.half_copies) : "";
  spdlog::info("{}: weights {} in {:.1f} s ({:.1f} GB/s){}, workspace {}, keys and values {}, left {}",
               model.device_name, gigabytes(plan.use.weights), model.upload_seconds,
               static_cast<double>(info.file_bytes) / 1e9 / std::max(model.upload_seconds, 1e-9), copies,
               gigabytes(plan.use.workspace), gigabytes(plan.kv_bytes), gigabytes(plan.left));
  spdlog::info(
      "context {} tokens, KV cache of {} blocks of {} tokens, {} sequences at once, {} tokens a step",
      info.max_model_len, plan.kv.num_blocks, plan.kv.block_size, model.engine_config.max_seqs,
      model.engine_config.max_batch_tokens);
  if (!model.plan.note.empty()) spdlog::warn("{}", model.plan.note);
  if (!model.chat_template.warning().empty()) spdlog::warn("{}", model.chat_template.warning());
}

// The same build and the same model give the same fingerprint.
std::string fingerprint(const ModelInfo& info) {
  const size_t hash = std::hash<std::string>{}(info.id + info.quantisation + std::to_string(info.file_bytes));
  return fmt::format("qwend-{}-{:08x}", kVersion, static_cast<uint32_t>(hash ^ (hash >> 32)));
}

void configure(App& app, const ServeOptions& options) {
  app.system_fingerprint = fingerprint(app.model);
  app.queue_timeout_ms = static_cast<int>(options.queue_timeout * 1000);
  app.request_timeout_ms = static_cast<int>(options.request_timeout * 1000);
  app.sse_ping_ms = static_cast<int>(options.ping_interval * 1000);
  app.strict_params = options.strict_params;
  app.both_reasoning_fields = options.reasoning_field == "both";
  app.sampling_defaults_openai = options.sampling_defaults == "openai";
}

// Runs the listener until the end of the scope.
class Listener {
 public:
  explicit Listener(http::Server& server) : thread_([&server] { server.run(); }) {}
  ~Listener() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::thread thread_;
};

// From the bound port to the end. The engine outlives the listener's last request.
int serve_on(http::Server& server, const ServeOptions& options, int port) {
  Metrics metrics;
  std::optional<Engine> engine;
  std::unique_ptr<App> app;
  server.set_access_log([&metrics, log = access_log(log_format(options))](const http::AccessRecord& record) {
    if (!record.error_code.empty()) metrics.rejected(record.error_code);  // handlers count their own
    log(record);
  });
  ShutdownWatch watch(server, milliseconds(options.drain_timeout));
  Listener listener(server);
  try {
    LoadedModel model = load(options);
    describe(model);
    engine.emplace(model.engine_config, std::move(model.executor), model.tokenizer);
    app.reset(new App{.engine = *engine,
                      .tokenizer = model.tokenizer,
                      .chat_template = model.chat_template,
                      .model = model.info,
                      .metrics = metrics,
                      .system_fingerprint = {}});
  } catch (...) {
    watch.cancel();
    throw;
  }
  configure(*app, options);
  register_routes(server, *app);
  watch.attach(app.get());
  server.set_loading(false);
  std::cout << "listening on http://" << options.host << ":" << port << std::endl;
  listener.join();
  return watch.engine_died() ? EX_SOFTWARE : EX_OK;
}

}  // namespace

int run_serve(const ServeOptions& options) {
  const ApiKeys keys = read_keys(options);
  const sigset_t signals = shutdown_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread starts
  start_logging(log_format(options), options.log_level);
  struct StopLogging {
    ~StopLogging() { stop_logging(); }
  } stop_logging_at_end;

  http::Server server(limits_of(options));
  if (!keys.empty()) server.set_authoriser(keys.authoriser());
  server.set_cors_origins(split_commas(options.cors_origins));
  server.set_loading(true);
  int port = 0;
  try {
    port = server.bind(options.host, options.port);
  } catch (const std::exception& error) {
    std::cerr << "qwend: " << error.what() << "\n";
    return EX_UNAVAILABLE;
  }
  return serve_on(server, options, port);
}

}  // namespace qwend::cli
