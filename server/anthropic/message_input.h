// The messages of /v1/messages: content blocks to the engine's messages.
#pragma once
#include <vector>

#include "engine/text/chat_template.h"
#include "server/openai/fields.h"

namespace qwend {

// `system` may be nullptr (absent). A user message's tool results become tool messages, in their order among
// its texts. Thinking, text and tool_use blocks of an assistant message stay together.
Result<std::vector<ChatMessage>, ApiError> parse_message_input(const Value& messages, const Value* system);

}  // namespace qwend
