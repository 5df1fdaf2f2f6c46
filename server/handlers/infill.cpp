// POST /infill
#include "server/handlers/chat_generation.h"
#include "server/handlers/fim_prompt.h"
#include "server/openai/generation_request.h"
#include "server/openai/infill_answer.h"
#include "server/openai/infill_request.h"

namespace qwend {
namespace {

Problem serve_infill(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto infill = parse_infill_request(body.value(), parse_context(app));
  if (!infill) return infill.error();
  const GenerationParams& params = infill.value().params;
  if (Problem problem = check_model(app, params.model)) return problem;
  const FimPrompt prompt{infill.value().prefix, infill.value().suffix, infill.value().begun,
                         infill.value().files};
  auto tokens = encode_fim(*app.tokenizer, prompt, "input_prefix", "input_extra");
  if (!tokens) return tokens.error();
  auto generation =
      to_generation_request(params, std::move(tokens).value(), app, request.key_name, "input_prefix");
  if (!generation) return generation.error();
  InfillAnswer answer(answer_head(app, request, "infill-"),
                      {.stop = params.stop, .token_ids = params.return_token_ids}, *app.tokenizer);
  return run_single(app, responder, std::move(generation).value(), answer, params.stream);
}

}  // namespace

void handle_infill(App& app, const http::Request& request, http::Responder& responder) {
  if (Problem problem = serve_infill(app, request, responder)) reply_error(app, responder, *problem);
}

}  // namespace qwend
