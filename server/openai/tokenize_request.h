// Bodies of POST /tokenize and /detokenize.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "server/openai/chat_request.h"

namespace qwend {

// Two dialects. llama-server's: content, add_special, parse_special, with_pieces. vLLM's: prompt or messages,
// add_special_tokens, return_token_strs; its answer has counts.
struct TokenizeRequest {
  std::string text;
  std::optional<ChatRequest> chat;  // messages instead of text
  bool add_special = false;
  bool parse_special = true;
  bool with_pieces = false;
  bool return_token_strs = false;
  bool with_counts = false;  // vLLM's answer
};

// The parameters of both dialects, but messages and what belongs to them.
std::span<const Field<TokenizeRequest>> tokenize_fields();
Result<TokenizeRequest, ApiError> parse_tokenize_request(const Value& body);
Result<std::vector<int32_t>, ApiError> parse_detokenize_request(const Value& body,
                                                                const ParseContext& context);

}  // namespace qwend
