// Which path is answered by which handler.
#include <spdlog/spdlog.h>

#include <exception>

#include "server/anthropic/error.h"
#include "server/app.h"
#include "server/handlers/handlers.h"

namespace qwend {
namespace {

using Endpoint = void (*)(App&, const http::Request&, http::Responder&);

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
  server.route("POST", "/v1/chat/completions", guarded(app, handle_chat_completions));
  server.route("POST", "/v1/completions", guarded(app, handle_completions));
  server.route("POST", "/v1/responses", guarded(app, handle_responses));
  server.route("POST", "/v1/responses/input_tokens", guarded(app, handle_response_input_tokens));
  server.route("GET", "/v1/responses/{id}", guarded(app, handle_response));
  server.route("DELETE", "/v1/responses/{id}", guarded(app, handle_response_delete));
  server.route("POST", "/v1/responses/{id}/cancel", guarded(app, handle_response_cancel));
  server.route("POST", "/v1/messages", guarded(app, handle_messages));
  server.route("POST", "/v1/messages/count_tokens", guarded(app, handle_message_count));
  server.route("POST", "/v1/embeddings", guarded(app, handle_embeddings));
  server.route("POST", "/v1/rerank", guarded(app, handle_rerank));
  server.route("POST", "/rerank", guarded(app, handle_rerank));
  server.route("GET", "/v1/models", guarded(app, handle_models));
  server.route("GET", "/v1/models/{id}", guarded(app, handle_model));
  server.route("POST", "/tokenize", guarded(app, handle_tokenize));
  server.route("POST", "/detokenize", guarded(app, handle_detokenize));
  server.route("POST", "/apply-template", guarded(app, handle_apply_template));
  server.route("GET", "/version", guarded(app, handle_version));
  server.route("GET", "/", guarded(app, handle_index));
  server.open_route("GET", "/livez", guarded(app, handle_livez));
  server.open_route("GET", "/readyz", guarded(app, handle_readyz));
  server.open_route("GET", "/health", guarded(app, handle_readyz));
  server.open_route("GET", "/metrics", [&server, &app](const http::Request&, http::Responder& responder) {
    handle_metrics(app, server.open_connections(), responder);
  });
}

}  // namespace qwend
