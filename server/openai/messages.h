// Chat messages: OpenAI's shapes to the engine's.
#pragma once
#include <vector>

#include "engine/text/chat_template.h"
#include "server/openai/fields.h"

namespace qwend {

// `value` is the request's "messages". Developer becomes system; text parts are joined; tool-call arguments
// are parsed so that templates can print them. Images and other parts are refused by path.
Result<std::vector<ChatMessage>, ApiError> parse_messages(const Value& value);

// Gives a call the arguments that a model or a client wrote: as an object where the text is one.
void set_arguments(ToolCall& call, std::string text);

}  // namespace qwend
