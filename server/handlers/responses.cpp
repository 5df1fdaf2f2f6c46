// POST /v1/responses, GET and DELETE /v1/responses/{id}, POST …/cancel and /v1/responses/input_tokens
#include <algorithm>

#include "server/handlers/chat_generation.h"
#include "server/json/json_writer.h"
#include "server/responses/response_answer.h"
#include "server/responses/response_input.h"
#include "server/responses/response_request.h"

namespace qwend {
namespace {

// How long a cancel waits for the response's end; the delivery loop looks ten times a second.
constexpr std::chrono::milliseconds kCancelWait{2000};

ApiError response_not_found(std::string_view id) {
  return {.status = 404,
          .message = "Response with id '" + std::string(id) + "' not found.",
          .param = "response_id",
          .code = "response_not_found"};
}

// What the new input continues; the whole conversation, without instructions.
Problem prepend_previous(const App& app, const http::Request& request, ResponseRequest& response) {
  const std::string& id = response.previous_response_id;
  if (id.empty()) return std::nullopt;
  const auto stored = app.responses.find(id, request.key_name);
  const auto conversation = stored ? stored->conversation() : std::nullopt;
  if (!conversation)
    return ApiError{.status = 400,
                    .message = "Previous response with id '" + id +
                               (stored ? "' has not been completed." : "' not found."),
                    .param = "previous_response_id",
                    .code = "previous_response_not_found"};
  auto& messages = response.chat.messages;
  messages.insert(messages.begin(), conversation->begin(), conversation->end());
  return std::nullopt;
}

// Leaves out the first turn: the first user message and what was said to it. False when it is the last one.
bool drop_oldest_turn(std::vector<ChatMessage>& messages) {
  const auto from_user = [](const ChatMessage& message) { return message.role == "user"; };
  const auto first = std::ranges::find_if(messages, from_user);
  if (first == messages.end()) return false;
  const auto next = std::find_if(first + 1, messages.end(), from_user);
  if (next == messages.end()) return false;
  messages.erase(first, next);
  return true;
}

Result<ChatGeneration, ApiError> make_response_generation(const App& app, const http::Request& request,
                                                          ResponseRequest& response) {
  while (true) {
    auto generation = make_chat_generation(app, request, response.chat, "input");
    const bool too_long = !generation && generation.error().code == "context_length_exceeded";
    if (!too_long || !response.drop_oldest || !drop_oldest_turn(response.chat.messages)) return generation;
  }
}

Result<ResponseRequest, ApiError> parse(const App& app, const http::Request& request,
                                        std::vector<ChatMessage>* conversation) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto parsed = parse_response_request(body.value(), parse_context(app));
  if (!parsed) return parsed;
  if (Problem problem = prepend_previous(app, request, parsed.value())) return *problem;
  std::vector<ChatMessage>& messages = parsed.value().chat.messages;
  if (conversation != nullptr) *conversation = messages;
  messages = with_instructions(parsed.value().instructions, std::move(messages));
  return parsed;
}

Problem serve_response(App& app, const http::Request& request, http::Responder& responder) {
  std::vector<ChatMessage> conversation;
  auto response = parse(app, request, &conversation);
  if (!response) return response.error();
  auto generation = make_response_generation(app, request, response.value());
  if (!generation) return generation.error();

  const AnswerHead head = answer_head(app, request, "resp_");
  const SamplingParams& sampling = generation.value().request.sampling;
  ResponseAnswerOptions options{.choice = generation.value().choice,
                                .temperature = sampling.temperature,
                                .top_p = sampling.top_p,
                                .echo = std::move(response.value().echo),
                                .stored = nullptr};
  if (response.value().store)
    options.stored = std::make_shared<StoredResponse>(head.id, request.key_name, std::move(conversation));
  const auto stored = options.stored;
  ResponseAnswer answer(head, std::move(options), *app.tokenizer);
  if (stored) app.responses.put(stored);
  Problem problem = run_single(app, responder, std::move(generation).value().request, answer,
                               response.value().chat.params.stream);
  if (problem && stored) app.responses.erase(head.id, request.key_name);
  return problem;
}

Problem serve_input_tokens(App& app, const http::Request& request, http::Responder& responder) {
  auto response = parse(app, request, nullptr);
  if (!response) return response.error();
  auto tokens = count_prompt_tokens(app, response.value().chat);
  if (!tokens) return tokens.error();
  std::string out;
  json::JsonWriter(out)
      .begin_object()
      .member("object", "response.input_tokens")
      .member("input_tokens", tokens.value())
      .end_object();
  reply_json(responder, std::move(out));
  return std::nullopt;
}

}  // namespace

void handle_responses(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_response(app, request, responder)) reply_error(app, responder, *problem);
}

void handle_response_input_tokens(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_input_tokens(app, request, responder)) reply_error(app, responder, *problem);
}

void handle_response(App& app, const http::Request& request, http::Responder& responder) {
  const std::string& id = request.path_params.at(0);
  const auto stored = app.responses.find(id, request.key_name);
  if (!stored) return reply_error(app, responder, response_not_found(id));
  reply_json(responder, stored->json());
}

void handle_response_delete(App& app, const http::Request& request, http::Responder& responder) {
  const std::string& id = request.path_params.at(0);
  if (!app.responses.erase(id, request.key_name)) return reply_error(app, responder, response_not_found(id));
  std::string out;
  json::JsonWriter(out)
      .begin_object()
      .member("id", id)
      .member("object", "response.deleted")
      .member("deleted", true)
      .end_object();
  reply_json(responder, std::move(out));
}

// A response that has ended stays as it is.
void handle_response_cancel(App& app, const http::Request& request, http::Responder& responder) {
  const std::string& id = request.path_params.at(0);
  const auto stored = app.responses.find(id, request.key_name);
  if (!stored) return reply_error(app, responder, response_not_found(id));
  stored->request_cancel();
  reply_json(responder, stored->json_at_end(kCancelWait));
}

}  // namespace qwend
