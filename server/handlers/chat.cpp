// POST /v1/chat/completions
#include "server/handlers/chat_prompt.h"
#include "server/handlers/deliver.h"
#include "server/handlers/handlers.h"
#include "server/openai/chat_answer.h"
#include "server/openai/generation_request.h"

namespace qwend {
namespace {

ChatAnswerOptions answer_options(const App& app, const ChatRequest& chat, const ChatPrompt& prompt,
                                 const GenerationRequest& generation) {
  ChatAnswerOptions options;
  options.include_usage = chat.params.include_usage;
  options.continuous_usage_stats = chat.params.continuous_usage_stats;
  options.prompt_tokens = static_cast<int32_t>(generation.prompt.size());
  if (chat.params.return_params) options.params_json = params_to_json(generation);
  options.n = chat.params.n;
  options.choice = {.split_reasoning = app.chat_template.supports_thinking(),
                    .starts_in_reasoning = prompt.starts_in_reasoning,
                    .parse_tools = prompt.parse_tools,
                    .parallel_tool_calls = chat.parallel_tool_calls,
                    .forced_prefix = prompt.forced_prefix,
                    .logprobs = chat.params.num_logprobs >= 0,
                    .token_ids = chat.params.return_token_ids,
                    .keep_control = !chat.params.skip_special_tokens};
  if (chat.params.return_token_ids) options.prompt_token_ids = generation.prompt;
  return options;
}

// Parses, renders, tokenises and admits, all before the first byte of the answer.
Problem serve_chat(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto chat = parse_chat_request(body.value(), parse_context(app));
  if (!chat) return chat.error();
  const GenerationParams& params = chat.value().params;
  if (Problem problem = check_model(app, params.model)) return problem;
  auto prompt = make_chat_prompt(app, chat.value());
  if (!prompt) return prompt.error();
  auto generation = to_generation_request(params, app.tokenizer->encode(prompt.value().segments), app,
                                          request.key_name, "messages");
  if (!generation) return generation.error();

  ChatAnswer answer(answer_head(app, request, "chatcmpl-"),
                    answer_options(app, chat.value(), prompt.value(), generation.value()), *app.tokenizer);
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(generation).value());
  auto outputs = OutputGroup::submit(app.engine, app.metrics, std::move(requests));
  if (!outputs) return outputs.error();
  deliver(app, responder, *outputs.value(), answer, params.stream);
  return std::nullopt;
}

}  // namespace

void handle_chat_completions(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_chat(app, request, responder)) reply_error(app, responder, *problem);
}

}  // namespace qwend
