// GET /livez, /readyz, /health, /metrics, /version. All answer without the engine's help.
#include "server/handlers/handlers.h"
#include "server/json/json_writer.h"
#include "server/metrics.h"
#include "server/version.h"

namespace qwend {
namespace {

// The engine's loop turns at least this often, also when idle.
constexpr std::chrono::seconds kHeartbeatLimit{30};

// 503 without the count of rejected requests: probes are no requests.
void reply_unavailable(http::Responder& responder, std::string message, std::string code) {
  const ApiError error{.status = 503,
                       .type = "server_error",
                       .message = std::move(message),
                       .param = "",
                       .code = std::move(code)};
  responder.reply(error.status, "application/json", error.to_json());
}

bool engine_lives(const App& app) {
  return app.engine.alive() && Clock::now() - app.engine.last_heartbeat() < kHeartbeatLimit;
}

void reply_ok(http::Responder& responder) { reply_json(responder, R"({"status":"ok"})"); }

}  // namespace

void handle_livez(App& app, const http::Request&, http::Responder& responder) {
  if (engine_lives(app)) return reply_ok(responder);
  reply_unavailable(responder, "The engine has stopped.", "engine_dead");
}

void handle_readyz(App& app, const http::Request&, http::Responder& responder) {
  if (!engine_lives(app)) return reply_unavailable(responder, "The engine has stopped.", "engine_dead");
  if (app.draining) return reply_unavailable(responder, "The server is shutting down.", "draining");
  if (app.engine.stats().waiting >= app.engine.config().max_queue)
    return reply_unavailable(responder, "The queue is full.", "overloaded");
  reply_ok(responder);
}

void handle_metrics(App& app, int open_connections, http::Responder& responder) {
  app.metrics.set_open_connections(open_connections);
  responder.reply(200, "text/plain; version=0.0.4; charset=utf-8",
                  app.metrics.render(app.engine.stats(), app.model.id, app.engine.last_heartbeat()));
}

void handle_version(App& app, const http::Request&, http::Responder& responder) {
  std::string out;
  json::JsonWriter(out)
      .begin_object()
      .member("version", kVersion)
      .member("system_fingerprint", app.system_fingerprint)
      .end_object();
  reply_json(responder, std::move(out));
}

}  // namespace qwend
