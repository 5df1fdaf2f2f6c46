// The endpoints, one function each, and what they have in common.
#pragma once
#include <string>
#include <string_view>

#include "server/app.h"
#include "server/openai/answer.h"
#include "server/openai/errors.h"
#include "server/openai/fields.h"

namespace qwend {

// ---- endpoints
void handle_chat_completions(App& app, const http::Request& request, http::Responder& responder);
void handle_completions(App& app, const http::Request& request, http::Responder& responder);
void handle_responses(App& app, const http::Request& request, http::Responder& responder);
void handle_response(App& app, const http::Request& request, http::Responder& responder);
void handle_response_delete(App& app, const http::Request& request, http::Responder& responder);
void handle_response_cancel(App& app, const http::Request& request, http::Responder& responder);
void handle_response_input_tokens(App& app, const http::Request& request, http::Responder& responder);
void handle_messages(App& app, const http::Request& request, http::Responder& responder);
void handle_message_count(App& app, const http::Request& request, http::Responder& responder);
void handle_embeddings(App& app, const http::Request& request, http::Responder& responder);
void handle_rerank(App& app, const http::Request& request, http::Responder& responder);
void handle_infill(App& app, const http::Request& request, http::Responder& responder);
void handle_openapi(App& app, const http::Request& request, http::Responder& responder);
void handle_models(App& app, const http::Request& request, http::Responder& responder);
void handle_model(App& app, const http::Request& request, http::Responder& responder);
void handle_tokenize(App& app, const http::Request& request, http::Responder& responder);
void handle_detokenize(App& app, const http::Request& request, http::Responder& responder);
void handle_apply_template(App& app, const http::Request& request, http::Responder& responder);
void handle_livez(App& app, const http::Request& request, http::Responder& responder);
void handle_readyz(App& app, const http::Request& request, http::Responder& responder);
void handle_version(App& app, const http::Request& request, http::Responder& responder);
void handle_index(App& app, const http::Request& request, http::Responder& responder);
// open_connections is a fact of the server, not of the app.
void handle_metrics(App& app, int open_connections, http::Responder& responder);

// ---- common ground
void reply_json(http::Responder& responder, std::string body);
void reply_error(App& app, http::Responder& responder, const ApiError& error);
void reply_error(App& app, http::Responder& responder, const ApiError& error, std::string body);
// The body as a JSON object, or 400 invalid_json.
Result<Value, ApiError> parse_body(const http::Request& request);
ParseContext parse_context(const App& app);
// 404 unless `model` is ours; empty (absent) is fine. 400 unless it is made for the task.
Problem check_model(const App& app, std::string_view model, ModelTask task = ModelTask::Generate);
AnswerHead answer_head(const App& app, const http::Request& request, std::string_view id_prefix);

}  // namespace qwend
