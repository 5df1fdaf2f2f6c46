// POST /v1/responses: the body as a chat, and what this dialect has beyond one.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "server/openai/chat_request.h"

namespace qwend {

struct ResponseRequest {
  ChatRequest chat;  // messages: the input's only
  std::string instructions;
  std::string previous_response_id;
  bool store = false;
  bool drop_oldest = false;  // "truncation": "auto": turns are left out until the rest fits
  std::string echo;  // members of the answer that repeat the request: `"tools":[…],"metadata":{…},…`
};

// Parameters that this endpoint has alone, or calls by another name than chat; all others are chat's.
struct ResponseFields {
  std::string instructions, previous_response_id, effort, verbosity, truncation = "disabled";
  std::optional<int32_t> max_output_tokens, top_logprobs, max_tool_calls;
  bool store = false, parallel_tool_calls = true, logprobs = false;
  const Value* format = nullptr;     // text.format
  const Value* reasoning = nullptr;  // as given, to be shown
  const Value* text = nullptr;
  const Value* metadata = nullptr;
};
std::span<const Field<ResponseFields>> response_fields();

// Validates everything but the model's name. Errors name this dialect's paths.
Result<ResponseRequest, ApiError> parse_response_request(const Value& body, const ParseContext& context);

}  // namespace qwend
