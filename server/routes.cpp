// Which path is answered by which handler.
#include <spdlog/spdlog.h>

#include <exception>

#include "server/anthropic/error.h"
#include "server/app.h"
#include "server/handlers/handlers.h"
#include "server/handlers/route_table.h"

namespace qwend {
namespace {

// Knows whether an answer has begun, so that an exception can still become an error reply.
class TrackedResponder final : public http::Responder {
 public:
  explicit TrackedResponder(http::Responder& inner) : inner_(inner) {}
  void reply(int status, std::string_view type, std::string body, http::Headers extra) override {
    begun_ = true;
    inner_.reply(status, type, std::move(body), std::move(extra));
  }
  void start_stream(std::string_view type, http::Headers extra) override {
    begun_ = streaming_ = true;
    inner_.start_stream(type, std::move(extra));
  }
  bool write(std::string_view bytes) override { return inner_.write(bytes); }
  void end_stream() override {
    streaming_ = false;
    inner_.end_stream();
  }
  bool client_gone() override { return inner_.client_gone(); }
  void add_tokens(const http::TokenCounts& counts) override { inner_.add_tokens(counts); }
  bool shutting_down() override { return inner_.shutting_down(); }
  bool begun() const { return begun_; }
  bool streaming() const { return streaming_; }

 private:
  http::Responder& inner_;
  bool begun_ = false, streaming_ = false;
};

void report_failure(App& app, const http::Request& request, TrackedResponder& responder, const char* what) {
  spdlog::error("{} {}: {}", request.request_id, request.path, what);
  const ApiError error = internal_error(what);
  if (!responder.begun()) {
    reply_error(app, responder, error, error_json_for(request.path, error));
  } else if (responder.streaming()) {
    if (responder.write("data: " + error_json_for(request.path, error) + "\n\n")) responder.end_stream();
  }
}

// A handler that throws (memory, a bug) costs its own request only.
http::Handler guarded(App& app, Endpoint endpoint) {
  return [&app, endpoint](const http::Request& request, http::Responder& inner) {
    TrackedResponder responder(inner);
    try {
      endpoint(app, request, responder);
    } catch (const std::exception& e) {
      report_failure(app, request, responder, e.what());
    }
  };
}

}  // namespace

void register_routes(http::Server& server, App& app) {
  for (const Route& route : routes()) {
    const auto add = route.open ? &http::Server::open_route : &http::Server::route;
    (server.*add)(route.method, route.path, guarded(app, route.handle));
  }
  server.open_route("GET", kMetricsPath, [&server, &app](const http::Request&, http::Responder& responder) {
    handle_metrics(app, server.open_connections(), responder);
  });
}

}  // namespace qwend
