// POST /v1/chat/completions: the body as a typed struct.
#pragma once
#include <vector>

#include "engine/text/chat_template.h"
#include "server/openai/generation_params.h"
#include "server/openai/tools.h"

namespace qwend {

struct ChatRequest {
  GenerationParams params;
  std::vector<ChatMessage> messages;
  ToolSettings tools;
  ChatTemplateOptions template_options;
  bool parallel_tool_calls = true;
};

// `body` is the parsed JSON. Everything is validated that can be without the model: types, ranges, token ids.
Result<ChatRequest, ApiError> parse_chat_request(const Value& body, const ParseContext& context);

// The part of a body that makes a prompt: messages, tools, tool_choice, template options. Also for
// /apply-template and /tokenize, which take nothing else.
Result<ChatRequest, ApiError> parse_chat_prompt(const Value& body);

}  // namespace qwend
