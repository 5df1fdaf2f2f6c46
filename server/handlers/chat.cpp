// POST /v1/chat/completions
#include "server/handlers/chat_generation.h"
#include "server/openai/chat_answer.h"
#include "server/openai/generation_request.h"

namespace qwend {
namespace {

ChatAnswerOptions answer_options(const App& app, const GenerationParams& params,
                                 const ChatGeneration& generation) {
  ChatAnswerOptions options;
  options.both_reasoning_fields = app.both_reasoning_fields;
  options.include_usage = params.include_usage;
  options.continuous_usage_stats = params.continuous_usage_stats;
  options.timings_per_token = params.timings_per_token;
  options.prompt_tokens = static_cast<int32_t>(generation.request.prompt.size());
  if (params.return_params) options.params_json = params_to_json(generation.request);
  options.n = params.n;
  options.choice = generation.choice;
  if (params.return_token_ids) options.prompt_token_ids = generation.request.prompt;
  return options;
}

// Parses, renders, tokenises and admits, all before the first byte of the answer.
Problem serve_chat(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto chat = parse_chat_request(body.value(), parse_context(app));
  if (!chat) return chat.error();
  const GenerationParams& params = chat.value().params;
  auto generation = make_chat_generation(app, request, chat.value());
  if (!generation) return generation.error();
  ChatAnswer answer(answer_head(app, request, "chatcmpl-"), answer_options(app, params, generation.value()),
                    *app.tokenizer);
  return run_single(app, responder, std::move(generation).value().request, answer, params.stream);
}

}  // namespace

void handle_chat_completions(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_chat(app, request, responder)) reply_error(app, responder, *problem);
}

}  // namespace qwend
