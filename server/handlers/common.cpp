#include <ctime>

#include "server/handlers/handlers.h"
#include "server/json/json_reader.h"
#include "server/metrics.h"
#include "server/openai/ids.h"

namespace qwend {

void reply_json(http::Responder& responder, std::string body) {
  responder.reply(200, "application/json", std::move(body));
}

void reply_error(App& app, http::Responder& responder, const ApiError& error) {
  reply_error(app, responder, error, error.to_json());
}

void reply_error(App& app, http::Responder& responder, const ApiError& error, std::string body) {
  app.metrics.rejected(error.code);
  http::Headers headers;
  if (error.retry_after > 0) headers.emplace_back("Retry-After", std::to_string(error.retry_after));
  responder.reply(error.status, "application/json", std::move(body), std::move(headers));
}

Result<Value, ApiError> parse_body(const http::Request& request) {
  auto body = json::parse(request.body);
  if (!body) return invalid_json(body.error());
  if (!std::holds_alternative<ValueObject>(body.value().data))
    return invalid_json("The request body must be a JSON object, not " +
                        std::string(type_name(body.value())) + ".");
  return std::move(body).value();
}

ParseContext parse_context(const App& app) {
  return {.vocab_size = app.model.vocab_size, .strict_params = app.strict_params};
}

Problem check_model(const App& app, std::string_view model, ModelTask task) {
  if (!model.empty() && model != app.model.id) return model_not_found(model);
  if (app.model.task == task) return std::nullopt;
  switch (app.model.task) {
    case ModelTask::Generate: return wrong_task("generates text; load one that is made for this endpoint");
    case ModelTask::Embed: return wrong_task("makes embeddings; use /v1/embeddings");
    case ModelTask::Rerank: return wrong_task("ranks documents; use /v1/rerank");
  }
  CHECK(false);
}

AnswerHead answer_head(const App& app, const http::Request& request, std::string_view id_prefix) {
  return {.id = make_id(id_prefix, request.request_id),
          .created = std::time(nullptr),
          .model = app.model.id,
          .system_fingerprint = app.system_fingerprint};
}

}  // namespace qwend
