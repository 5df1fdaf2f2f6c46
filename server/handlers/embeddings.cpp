// POST /v1/embeddings
#include <bit>

#include "engine/pooling.h"
#include "server/handlers/pooled.h"
#include "server/json/json_writer.h"
#include "server/openai/embedding_request.h"

namespace qwend {
namespace {

// The vector is read at an end-of-text token, which the model was trained to see after its input.
std::vector<int32_t> with_end(std::vector<int32_t> tokens, const Tokenizer& tokenizer) {
  const int32_t end = tokenizer.find("<|endoftext|>");
  if (end >= 0 && tokens.back() != end) tokens.push_back(end);
  return tokens;
}

std::vector<PooledPrompt> tokenize(const App& app, const std::vector<PromptInput>& inputs) {
  std::vector<PooledPrompt> prompts;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto* text = std::get_if<std::string>(&inputs[i]);
    std::vector<int32_t> tokens = text != nullptr ? app.tokenizer->encode(*text, Specials::None)
                                                  : std::get<std::vector<int32_t>>(inputs[i]);
    prompts.push_back(
        {with_end(std::move(tokens), *app.tokenizer), inputs.size() == 1 ? "input" : at("input", i)});
  }
  return prompts;
}

// The vector's bytes, little-endian floats.
std::string base64(const std::vector<float>& vector) {
  static_assert(std::endian::native == std::endian::little);
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto* bytes = reinterpret_cast<const unsigned char*>(vector.data());
  const size_t size = vector.size() * sizeof(float);
  std::string out;
  out.reserve((size + 2) / 3 * 4);
  for (size_t i = 0; i < size; i += 3) {
    const size_t left = std::min<size_t>(size - i, 3);
    const uint32_t group =
        bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    for (size_t digit = 0; digit < 4; ++digit)
      out += digit <= left ? kDigits[group >> (18 - 6 * digit) & 63] : '=';
  }
  return out;
}

std::string render(const App& app, const EmbeddingRequest& request, const PooledOutput& output) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().member("object", "list").key("data").begin_array();
  for (size_t i = 0; i < output.hidden.size(); ++i) {
    const std::vector<float>& hidden = output.hidden[i];
    const auto dimensions = request.dimensions ? static_cast<size_t>(*request.dimensions) : hidden.size();
    const std::vector<float> vector = embedding_of(hidden, std::min(dimensions, hidden.size()));
    writer.begin_object().member("object", "embedding").member("index", static_cast<uint64_t>(i));
    writer.key("embedding");
    if (request.base64) {
      writer.value(base64(vector));
    } else {
      writer.begin_array();
      for (const float x : vector) writer.value(x);
      writer.end_array();
    }
    writer.end_object();
  }
  const int32_t tokens = output.totals.usage.prompt_tokens;
  writer.end_array().member("model", app.model.id);
  writer.key("usage")
      .begin_object()
      .member("prompt_tokens", tokens)
      .member("total_tokens", tokens)
      .end_object();
  writer.end_object();
  return out;
}

Result<EmbeddingRequest, ApiError> parse(const App& app, const http::Request& request) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto parsed = parse_embedding_request(body.value(), parse_context(app));
  if (!parsed) return parsed;
  if (Problem problem = check_model(app, parsed.value().model, ModelTask::Embed)) return *problem;
  if (parsed.value().dimensions.value_or(1) > app.model.embedding_width)
    return invalid_value("dimensions",
                         "must be at most " + std::to_string(app.model.embedding_width) + " for this model");
  return parsed;
}

}  // namespace

void handle_embeddings(App& app, const http::Request& request, http::Responder& responder) {
  const auto parsed = parse(app, request);
  if (!parsed) return reply_error(app, responder, parsed.error());
  const auto output = run_pooled(app, request, responder, tokenize(app, parsed.value().inputs));
  if (output) reply_json(responder, render(app, parsed.value(), *output));
}

}  // namespace qwend
