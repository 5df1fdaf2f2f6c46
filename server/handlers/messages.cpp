// POST /v1/messages, /v1/messages/count_tokens
#include "server/anthropic/error.h"
#include "server/anthropic/message_answer.h"
#include "server/anthropic/message_request.h"
#include "server/handlers/chat_generation.h"
#include "server/json/json_writer.h"

namespace qwend {
namespace {

Result<ChatRequest, ApiError> parse(const App& app, const http::Request& request) {
  auto body = parse_body(request);
  if (!body) return body.error();
  return parse_message_request(body.value(), parse_context(app));
}

Problem serve_message(App& app, const http::Request& request, http::Responder& responder) {
  auto chat = parse(app, request);
  if (!chat) return chat.error();
  auto generation = make_chat_generation(app, request, chat.value());
  if (!generation) return generation.error();
  const GenerationParams& params = chat.value().params;
  MessageAnswerOptions options{
      .choice = generation.value().choice,
      .prompt_tokens = static_cast<int32_t>(generation.value().request.prompt.size()),
      .stop_sequences = params.stop};
  MessageAnswer answer(answer_head(app, request, "msg_"), std::move(options), *app.tokenizer);
  return run_single(app, responder, std::move(generation).value().request, answer, params.stream);
}

Problem serve_count(App& app, const http::Request& request, http::Responder& responder) {
  auto chat = parse(app, request);
  if (!chat) return chat.error();
  auto tokens = count_prompt_tokens(app, chat.value());
  if (!tokens) return tokens.error();
  std::string out;
  json::JsonWriter(out).begin_object().member("input_tokens", tokens.value()).end_object();
  reply_json(responder, std::move(out));
  return std::nullopt;
}

}  // namespace

void handle_messages(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_message(app, request, responder))
    reply_error(app, responder, *problem, message_error_json(*problem));
}

void handle_message_count(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_count(app, request, responder))
    reply_error(app, responder, *problem, message_error_json(*problem));
}

}  // namespace qwend
