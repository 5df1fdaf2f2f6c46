// POST /tokenize, /detokenize, /apply-template
#include "engine/text/detokenizer.h"
#include "server/handlers/chat_prompt.h"
#include "server/handlers/handlers.h"
#include "server/json/json_writer.h"
#include "server/openai/tokenize_request.h"

namespace qwend {
namespace {

Result<std::vector<int32_t>, ApiError> tokenize(const App& app, const TokenizeRequest& request) {
  const Tokenizer& tokenizer = *app.tokenizer;
  std::vector<int32_t> tokens;
  if (request.chat) {
    auto prompt = make_chat_prompt(app, *request.chat);
    if (!prompt) return prompt.error();
    tokens = tokenizer.encode(prompt.value().segments);
  } else {
    tokens = tokenizer.encode(request.text, request.parse_special ? Specials::All : Specials::UserDefined);
  }
  if (request.add_special && tokenizer.add_bos()) tokens.insert(tokens.begin(), tokenizer.bos());
  return tokens;
}

// A piece that isn't UTF-8 by itself is shown as its bytes.
void write_piece(json::JsonWriter& writer, int32_t token, const Tokenizer& tokenizer) {
  const std::string_view bytes = tokenizer.bytes(token);
  writer.begin_object().member("id", token).key("piece");
  if (sanitize_utf8(bytes) == bytes) {
    writer.value(bytes);
  } else {
    writer.begin_array();
    for (const char c : bytes) writer.value(static_cast<int32_t>(static_cast<unsigned char>(c)));
    writer.end_array();
  }
  writer.end_object();
}

std::string render(const App& app, const TokenizeRequest& request, const std::vector<int32_t>& tokens) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object();
  if (request.with_counts)
    writer.member("count", static_cast<uint64_t>(tokens.size()))
        .member("max_model_len", app.model.max_model_len);
  writer.key("tokens").begin_array();
  for (const int32_t token : tokens) {
    if (request.with_pieces) {
      write_piece(writer, token, *app.tokenizer);
    } else {
      writer.value(token);
    }
  }
  writer.end_array();
  if (request.with_counts) {
    writer.key("token_strs");
    if (request.return_token_strs) {
      writer.begin_array();
      for (const int32_t token : tokens) writer.value(app.tokenizer->bytes(token));
      writer.end_array();
    } else {
      writer.null();
    }
  }
  writer.end_object();
  return out;
}

}  // namespace

void handle_tokenize(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return reply_error(app, responder, body.error());
  auto parsed = parse_tokenize_request(body.value());
  if (!parsed) return reply_error(app, responder, parsed.error());
  auto tokens = tokenize(app, parsed.value());
  if (!tokens) return reply_error(app, responder, tokens.error());
  reply_json(responder, render(app, parsed.value(), tokens.value()));
}

void handle_detokenize(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return reply_error(app, responder, body.error());
  auto tokens = parse_detokenize_request(body.value(), parse_context(app));
  if (!tokens) return reply_error(app, responder, tokens.error());
  const std::string text = app.tokenizer->decode(tokens.value(), true);
  std::string out;
  json::JsonWriter(out).begin_object().member("content", text).member("prompt", text).end_object();
  reply_json(responder, std::move(out));
}

void handle_apply_template(App& app, const http::Request& request, http::Responder& responder) {
  auto body = parse_body(request);
  if (!body) return reply_error(app, responder, body.error());
  auto chat = parse_chat_prompt(body.value());
  if (!chat) return reply_error(app, responder, chat.error());
  auto prompt = make_chat_prompt(app, chat.value());
  if (!prompt) return reply_error(app, responder, prompt.error());
  std::string out;
  json::JsonWriter(out).begin_object().member("prompt", join(prompt.value().segments)).end_object();
  reply_json(responder, std::move(out));
}

}  // namespace qwend
