// The input of /v1/responses: items to the engine's messages.
#pragma once
#include <string>
#include <vector>

#include "engine/text/chat_template.h"
#include "server/openai/fields.h"

namespace qwend {

// `value` is the request's "input": a text (one user message) or items. Reasoning, text and calls that follow
// each other are one assistant message, as the model wrote them. Items of other kinds are refused by path.
Result<std::vector<ChatMessage>, ApiError> parse_response_input(const Value& value);

// The conversation with `instructions` (none when empty) at its head. System messages there become one, since
// templates want a single one.
std::vector<ChatMessage> with_instructions(const std::string& instructions,
                                           std::vector<ChatMessage> messages);

}  // namespace qwend
