// POST /v1/embeddings and /v1/rerank: the bodies as typed structs.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "server/openai/fields.h"
#include "server/openai/prompt_input.h"

namespace qwend {

inline constexpr size_t kMaxInputs = 2048;  // texts of one request

struct EmbeddingRequest {
  std::string model;
  std::vector<PromptInput> inputs;  // >= 1, none empty
  bool base64 = false;
  std::optional<int32_t> dimensions;  // >= 1; the model's width is the caller's to check
};
std::span<const Field<EmbeddingRequest>> embedding_fields();
Result<EmbeddingRequest, ApiError> parse_embedding_request(const Value& body, const ParseContext& context);

struct RerankRequest {
  std::string model, query, instruction;  // instruction may be empty: the default one
  std::vector<std::string> documents;     // >= 1
  std::optional<int32_t> top_n;           // >= 1
  bool return_documents = false;
};
std::span<const Field<RerankRequest>> rerank_fields();
Result<RerankRequest, ApiError> parse_rerank_request(const Value& body, const ParseContext& context);

}  // namespace qwend
