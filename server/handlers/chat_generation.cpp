#include "server/handlers/chat_generation.h"

#include "server/handlers/deliver.h"
#include "server/openai/generation_request.h"

namespace qwend {
namespace {

// Models that do not think need no limit.
Result<std::optional<ThinkingLimit>, ApiError> thinking_limit(const App& app, const ChatRequest& chat,
                                                              const ChatPrompt& prompt) {
  if (!chat.thinking_token_budget || !app.chat_template.supports_thinking())
    return std::optional<ThinkingLimit>();
  ThinkingLimit limit{.max_tokens = *chat.thinking_token_budget,
                      .open = app.tokenizer->find("<think>"),
                      .close = app.tokenizer->find("</think>"),
                      .inside = prompt.starts_in_reasoning,
                      .ending = app.tokenizer->encode(kThinkClose, Specials::All)};
  if (limit.close < 0)
    return unsupported("thinking_token_budget", "this model's vocabulary has no token that ends thinking");
  return std::optional(std::move(limit));
}

}  // namespace

Result<ChatGeneration, ApiError> make_chat_generation(const App& app, const http::Request& request,
                                                      const ChatRequest& chat,
                                                      std::string_view messages_param) {
  if (Problem problem = check_model(app, chat.params.model)) return *problem;
  auto prompt = make_chat_prompt(app, chat);
  if (!prompt) return prompt.error();
  auto thinking = thinking_limit(app, chat, prompt.value());
  if (!thinking) return thinking.error();
  auto generation = to_generation_request(chat.params, app.tokenizer->encode(prompt.value().segments), app,
                                          request.key_name, messages_param);
  if (!generation) return generation.error();
  generation.value().thinking = std::move(thinking).value();
  generation.value().openings = prompt.value().openings;
  return ChatGeneration{
      .request = std::move(generation).value(),
      .choice = {.split_reasoning = app.chat_template.supports_thinking(),
                 .starts_in_reasoning = prompt.value().starts_in_reasoning,
                 .tool_calls = prompt.value().tool_calls,
                 .parallel_tool_calls = chat.parallel_tool_calls,
                 .tools = std::make_shared<const std::vector<Value>>(callable_tools(chat.tools)),
                 .forced_prefix = prompt.value().forced_prefix,
                 .logprobs = chat.params.num_logprobs >= 0,
                 .token_ids = chat.params.return_token_ids,
                 .keep_control = !chat.params.skip_special_tokens},
  };
}

Result<int64_t, ApiError> count_prompt_tokens(const App& app, const ChatRequest& chat) {
  if (Problem problem = check_model(app, chat.params.model)) return *problem;
  auto prompt = make_chat_prompt(app, chat);
  if (!prompt) return prompt.error();
  return static_cast<int64_t>(app.tokenizer->encode(prompt.value().segments).size());
}

Problem run_single(App& app, http::Responder& responder, GenerationRequest request, Answer& answer,
                   bool stream) {
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(request));
  auto outputs = OutputGroup::submit(app.engine, app.metrics, std::move(requests));
  if (!outputs) return outputs.error();
  deliver(app, responder, *outputs.value(), answer, stream);
  return std::nullopt;
}

}  // namespace qwend
