#include "server/log.h"

#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "engine/error.h"
#include "server/json/json_writer.h"

namespace qwend {

namespace {

constexpr size_t kQueueSize = 8192;  // lines

// Printable ASCII as it is, all else as \xNN; empty as "-".
std::string escaped(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      out.push_back(static_cast<char>(c));
    } else {
      out += fmt::format("\\x{:02x}", c);
    }
  }
  return out.empty() ? "-" : out;
}

std::string json_line(const http::AccessRecord& record) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().member("event", "request").member("request_id", record.request_id);
  writer.member("remote", record.remote).member("key", record.key_name);
  writer.member("method", record.method).member("path", record.path);
  writer.member("status", record.status).member("code", record.error_code);
  writer.member("bytes_in", static_cast<uint64_t>(record.bytes_in));
  writer.member("bytes_out", static_cast<uint64_t>(record.bytes_out));
  writer.member("prompt_tokens", record.tokens.prompt).member("cached_tokens", record.tokens.cached);
  writer.member("completion_tokens", record.tokens.completion);
  writer.member("seconds", record.seconds).member("aborted", record.aborted).end_object();
  return out;
}

std::string text_line(const http::AccessRecord& record) {
  const http::TokenCounts& tokens = record.tokens;
  const std::string counts =
      tokens.prompt == 0
          ? ""
          : fmt::format(" {} tokens in ({} cached) {} out", tokens.prompt, tokens.cached, tokens.completion);
  return fmt::format("{} {} \"{} {}\" {}{}{}{} {} B in {} B out{} {:.3f} s {}", escaped(record.remote),
                     escaped(record.key_name), escaped(record.method), escaped(record.path), record.status,
                     record.error_code.empty() ? "" : " ", record.error_code,
                     record.aborted ? " aborted" : "", record.bytes_in, record.bytes_out, counts,
                     record.seconds, escaped(record.request_id));
}

// {"time","level","message"} for lines that are not JSON objects themselves.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& dest) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    const auto time = message.time;
    const auto millis =
        std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
    const std::time_t seconds = static_cast<std::time_t>(millis / 1000);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    const auto level = spdlog::level::to_string_view(message.level);
    std::string out;
    json::JsonWriter writer(out);
    writer.begin_object().member("time", fmt::format("{}.{:03}Z", stamp, millis % 1000));
    writer.member("level", std::string_view(level.data(), level.size()));
    if (message.logger_name == spdlog::string_view_t("access")) {
      out.append(",").append(text.substr(1));  // the request's own object goes on
    } else {
      writer.member("message", text).end_object();
    }
    out.push_back('\n');
    dest.append(out.data(), out.data() + out.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

std::string access_line(const http::AccessRecord& record, LogFormat format) {
  return format == LogFormat::Json ? json_line(record) : text_line(record);
}

void start_logging(LogFormat format, const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    throw LoadError("log level: got \"" + level +
                    "\", allowed: trace, debug, info, warning, error, critical, off");
  }
  spdlog::init_thread_pool(kQueueSize, 1);
  const auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  const auto make = [&](const char* name) {
    auto logger = std::make_shared<spdlog::async_logger>(name, sink, spdlog::thread_pool(),
                                                         spdlog::async_overflow_policy::overrun_oldest);
    logger->set_level(parsed);
    return logger;
  };
  spdlog::set_default_logger(make("qwend"));
  spdlog::register_logger(make("access"));
  if (format == LogFormat::Json) {
    sink->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    sink->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                                                                    spdlog::pattern_time_type::utc));
  }
}

void stop_logging() { spdlog::shutdown(); }

http::AccessLog access_log(LogFormat format) {
  const std::shared_ptr<spdlog::logger> named = spdlog::get("access");
  return [format, logger = named ? named : spdlog::default_logger()](const http::AccessRecord& record) {
    logger->info("{}", access_line(record, format));
  };
}

}  // namespace qwend
