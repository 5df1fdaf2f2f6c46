// POST /v1/messages: the body as a chat.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "server/openai/chat_request.h"

namespace qwend {

// Parameters that this endpoint has alone, or calls by another name than chat; all others are chat's.
struct MessageFields {
  std::optional<bool> enable_thinking;
  std::optional<int32_t> thinking_budget;
  std::string effort;
  const Value* format = nullptr;  // output_config.format
};
std::span<const Field<MessageFields>> message_fields();

// Validates everything but the model's name. A last message of the assistant is continued. Without `thinking`
// the model does not think, where it can do without. Errors name this dialect's paths.
Result<ChatRequest, ApiError> parse_message_request(const Value& body, const ParseContext& context);

}  // namespace qwend
