#include "server/handlers/route_table.h"

#include <algorithm>

#include "server/anthropic/message_request.h"
#include "server/handlers/handlers.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/openai/embedding_request.h"
#include "server/openai/infill_request.h"
#include "server/openai/tokenize_request.h"
#include "server/responses/response_request.h"

namespace qwend {
namespace {

constexpr char kObjectsSchema[] = R"({"type":"array","minItems":1,"items":{"type":"object"}})";

// Builds a schema from parameter tables; of rows with one name the first counts.
class SchemaBuilder {
 public:
  explicit SchemaBuilder(std::string_view name) { schema_.name = name; }
  SchemaBuilder& add(std::string_view name, std::string schema) {
    const bool known =
        std::ranges::find(schema_.parameters, name, &ParameterSchema::name) != schema_.parameters.end();
    if (!known) schema_.parameters.push_back({name, std::move(schema)});
    return *this;
  }
  template <class T>
  SchemaBuilder& add(std::span<const Field<T>> table) {
    for (const Field<T>& field : table) add(field.name, field.schema == "{}" ? "" : field.schema);
    return *this;
  }
  SchemaBuilder& require(std::string_view name) {
    schema_.required.push_back(name);
    return *this;
  }
  RequestSchema take() { return std::move(schema_); }

 private:
  RequestSchema schema_;
};

constexpr char kToolChoiceSchema[] =
    R"({"oneOf":[{"type":"string","enum":["none","auto","required"]},{"type":"object"}]})";

const RequestSchema& chat_schema() {
  static const RequestSchema schema = SchemaBuilder("ChatRequest")
                                          .add("messages", kObjectsSchema)
                                          .add("tools", kObjectsSchema)
                                          .add("tool_choice", kToolChoiceSchema)
                                          .add(chat_fields())
                                          .add(generation_fields())
                                          .require("messages")
                                          .take();
  return schema;
}

const RequestSchema& completion_schema() {
  static const RequestSchema schema = SchemaBuilder("CompletionRequest")
                                          .add("prompt", kPromptSchema)
                                          .add(completion_fields())
                                          .add(generation_fields())
                                          .require("prompt")
                                          .take();
  return schema;
}

const RequestSchema& response_schema() {
  static const RequestSchema schema = SchemaBuilder("ResponseRequest")
                                          .add(response_fields())
                                          .add(chat_fields())
                                          .add(generation_fields())
                                          .take();
  return schema;
}

const RequestSchema& message_schema() {
  static const RequestSchema schema = SchemaBuilder("MessageRequest")
                                          .add(message_fields())
                                          .add(chat_fields())
                                          .add(generation_fields())
                                          .require("messages")
                                          .take();
  return schema;
}

const RequestSchema& embedding_schema() {
  static const RequestSchema schema =
      SchemaBuilder("EmbeddingRequest").add(embedding_fields()).require("input").take();
  return schema;
}

const RequestSchema& rerank_schema() {
  static const RequestSchema schema =
      SchemaBuilder("RerankRequest").add(rerank_fields()).require("query").require("documents").take();
  return schema;
}

const RequestSchema& infill_schema() {
  static const RequestSchema schema =
      SchemaBuilder("InfillRequest").add(infill_fields()).add(generation_fields()).take();
  return schema;
}

const RequestSchema& tokenize_schema() {
  static const RequestSchema schema = SchemaBuilder("TokenizeRequest")
                                          .add(tokenize_fields())
                                          .add("messages", kObjectsSchema)
                                          .add("tools", kObjectsSchema)
                                          .take();
  return schema;
}

const RequestSchema& detokenize_schema() {
  static const RequestSchema schema =
      SchemaBuilder("DetokenizeRequest").add("tokens", kTokenIdsSchema).require("tokens").take();
  return schema;
}

const RequestSchema& template_schema() {
  static const RequestSchema schema = SchemaBuilder("TemplateRequest")
                                          .add("messages", kObjectsSchema)
                                          .add("tools", kObjectsSchema)
                                          .add("tool_choice", kToolChoiceSchema)
                                          .add(chat_fields())
                                          .require("messages")
                                          .take();
  return schema;
}

}  // namespace

std::span<const Route> routes() {
  static const Route table[] = {
      {"POST", "/v1/chat/completions", handle_chat_completions, "Chat, whole or streamed", chat_schema},
      {"POST", "/v1/completions", handle_completions, "Raw prompts", completion_schema},
      {"POST", "/v1/responses", handle_responses, "OpenAI's Responses", response_schema},
      {"POST", "/v1/responses/input_tokens", handle_response_input_tokens,
       "How many tokens a response's input has", response_schema},
      {"GET", "/v1/responses/{id}", handle_response, "A response that was kept"},
      {"DELETE", "/v1/responses/{id}", handle_response_delete, "Forget a response"},
      {"POST", "/v1/responses/{id}/cancel", handle_response_cancel, "End a response that is being written"},
      {"POST", "/v1/messages", handle_messages, "Anthropic's Messages", message_schema},
      {"POST", "/v1/messages/count_tokens", handle_message_count, "How many tokens messages have",
       message_schema},
      {"POST", "/v1/embeddings", handle_embeddings, "Vectors, of an embedding model", embedding_schema},
      {"POST", "/v1/rerank", handle_rerank, "Documents by relevance, of a reranker", rerank_schema},
      {"POST", "/rerank", handle_rerank, "The same as /v1/rerank", rerank_schema},
      {"POST", "/infill", handle_infill, "Fill in the middle of code", infill_schema},
      {"GET", "/v1/models", handle_models, "The model"},
      {"GET", "/v1/models/{id}", handle_model, "The model, by its name"},
      {"POST", "/tokenize", handle_tokenize, "Text or messages to token ids", tokenize_schema},
      {"POST", "/detokenize", handle_detokenize, "Token ids to text", detokenize_schema},
      {"POST", "/apply-template", handle_apply_template, "The prompt that messages become", template_schema},
      {"GET", "/version", handle_version, "The server's version"},
      {"GET", "/openapi.json", handle_openapi, "This API, described"},
      {"GET", "/", handle_index, "A page for people"},
      {"GET", "/livez", handle_livez, "200 while the engine lives", nullptr, true},
      {"GET", "/readyz", handle_readyz, "200 while requests are taken", nullptr, true},
      {"GET", "/health", handle_readyz, "The same as /readyz", nullptr, true},
  };
  return table;
}

}  // namespace qwend
