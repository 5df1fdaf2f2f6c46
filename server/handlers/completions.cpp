// POST /v1/completions
#include "server/handlers/deliver.h"
#include "server/handlers/fim_prompt.h"
#include "server/handlers/handlers.h"
#include "server/openai/completion_answer.h"
#include "server/openai/completion_request.h"
#include "server/openai/generation_request.h"

namespace qwend {
namespace {

// Whoever sends a raw prompt writes the control tokens too.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> tokens = tokenizer.encode(text, Specials::All);
  if (tokenizer.add_bos() && (tokens.empty() || tokens.front() != tokenizer.bos()))
    tokens.insert(tokens.begin(), tokenizer.bos());
  return tokens;
}

Result<std::vector<int32_t>, ApiError> encode_input(const Tokenizer& tokenizer, const PromptInput& prompt,
                                                    const std::string& suffix) {
  if (!suffix.empty()) {
    const auto* text = std::get_if<std::string>(&prompt);
    if (text == nullptr) return invalid_value("suffix", "needs a prompt of text");
    return encode_fim(tokenizer, {.prefix = *text, .suffix = suffix, .begun = {}, .files = {}}, "suffix");
  }
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  return encode_prompt(tokenizer, std::get<std::string>(prompt));
}

void ask_for_prompt_logprobs(const CompletionRequest& completion, GenerationRequest& generation) {
  if (!completion.echo) return;
  const bool wanted = completion.params.num_logprobs >= 0;
  if (wanted) generation.prompt_logprobs = completion.params.num_logprobs;
  // Nothing to generate: the engine still needs something to do.
  if (generation.stop.max_tokens == 0) generation.prompt_logprobs = std::max(generation.prompt_logprobs, 0);
  // Evaluation harnesses ask for one token and drop the last entry, whatever it is: it must be there even
  // when the model ends at once.
  if (wanted && generation.stop.stop.empty() && generation.stop.stop_token_ids.empty())
    generation.stop.include_stop_in_output = true;
}

Result<std::vector<GenerationRequest>, ApiError> to_generation_requests(const App& app,
                                                                        const http::Request& request,
                                                                        const CompletionRequest& completion) {
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < completion.prompts.size(); ++i) {
    const std::string param = completion.prompts.size() == 1 ? "prompt" : at("prompt", i);
    auto tokens = encode_input(*app.tokenizer, completion.prompts[i], completion.suffix);
    if (!tokens) return tokens.error();
    auto generation =
        to_generation_request(completion.params, std::move(tokens).value(), app, request.key_name, param);
    if (!generation) return generation.error();
    ask_for_prompt_logprobs(completion, generation.value());
    requests.push_back(std::move(generation).value());
  }
  return requests;
}

std::string echo_text(const Tokenizer& tokenizer, const PromptInput& prompt, bool keep_control) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  return tokenizer.decode(std::get<std::vector<int32_t>>(prompt), keep_control);
}

CompletionAnswerOptions answer_options(const App& app, const CompletionRequest& completion,
                                       const std::vector<GenerationRequest>& requests) {
  const GenerationParams& params = completion.params;
  CompletionAnswerOptions options;
  options.include_usage = params.include_usage;
  options.continuous_usage_stats = params.continuous_usage_stats;
  options.timings_per_token = params.timings_per_token;
  if (params.return_params) options.params_json = params_to_json(requests.front());
  options.n = params.n;
  options.choice.logprobs = params.num_logprobs >= 0;
  options.choice.token_ids = params.return_token_ids;
  options.choice.keep_control = !params.skip_special_tokens;
  for (size_t i = 0; i < requests.size(); ++i) {
    options.prompt_tokens += static_cast<int32_t>(requests[i].prompt.size());
    if (params.return_token_ids) options.prompt_token_ids.push_back(requests[i].prompt);
    if (completion.echo)
      options.echo.push_back(echo_text(*app.tokenizer, completion.prompts[i], !params.skip_special_tokens));
  }
  return options;
}

Problem serve_completion(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto completion = parse_completion_request(body.value(), parse_context(app));
  if (!completion) return completion.error();
  const GenerationParams& params = completion.value().params;
  if (Problem problem = check_model(app, params.model)) return problem;
  auto requests = to_generation_requests(app, request, completion.value());
  if (!requests) return requests.error();

  CompletionAnswer answer(answer_head(app, request, "cmpl-"),
                          answer_options(app, completion.value(), requests.value()),
                          static_cast<int32_t>(requests.value().size()), *app.tokenizer);
  auto outputs = OutputGroup::submit(app.engine, app.metrics, std::move(requests).value());
  if (!outputs) return outputs.error();
  deliver(app, responder, *outputs.value(), answer, params.stream);
  return std::nullopt;
}

}  // namespace

void handle_completions(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_completion(app, request, responder)) reply_error(app, responder, *problem);
}

}  // namespace qwend
