// GET /v1/models, GET /v1/models/{id}
#include "server/handlers/handlers.h"
#include "server/json/json_writer.h"

namespace qwend {
namespace {

void write_model(json::JsonWriter& writer, const ModelInfo& model) {
  writer.begin_object()
      .member("id", model.id)
      .member("object", "model")
      .member("created", model.created)
      .member("owned_by", "qwend")
      .member("max_model_len", model.max_model_len);
  writer.key("meta")
      .begin_object()
      .member("architecture", model.architecture)
      .member("n_ctx", model.max_model_len)
      .member("n_ctx_train", model.trained_context)
      .member("n_vocab", model.vocab_size)
      .member("n_params", model.num_params)
      .member("size", model.file_bytes)
      .member("quantisation", model.quantisation)
      .end_object();
  writer.end_object();
}

}  // namespace

void handle_models(App& app, const http::Request&, http::Responder& responder) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().member("object", "list").key("data").begin_array();
  write_model(writer, app.model);
  writer.end_array().end_object();
  reply_json(responder, std::move(out));
}

void handle_model(App& app, const http::Request& request, http::Responder& responder) {
  const std::string id = request.path_params.empty() ? std::string() : request.path_params.front();
  if (id != app.model.id) return reply_error(app, responder, model_not_found(id));
  std::string out;
  json::JsonWriter writer(out);
  write_model(writer, app.model);
  reply_json(responder, std::move(out));
}

}  // namespace qwend
