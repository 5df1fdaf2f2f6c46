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
  std::optional<int32_t> thinking_token_budget;  // of a think block; absent: no limit
};

// Fields of the chat endpoint alone. Booleans that interact are kept here until all have been read.
struct ChatFields {
  bool logprobs = false;
  std::optional<int32_t> top_logprobs;
  bool parallel_tool_calls = true;
  bool continue_final_message = false;
  std::optional<bool> add_generation_prompt, enable_thinking;
  bool preserve_thinking = false;
  std::optional<int32_t> thinking_token_budget;  // -1: no limit
  std::string reasoning_effort;
};

// The table of the chat endpoint's own parameters, beside generation_fields(); messages, tools and
// tool_choice are no rows.
std::span<const Field<ChatFields>> chat_fields();

// `body` is the parsed JSON. Everything is validated that can be without the model: types, ranges, token ids.
Result<ChatRequest, ApiError> parse_chat_request(const Value& body, const ParseContext& context);

// The same for a dialect whose messages look different: `body` has everything else, in the names and shapes
// of the chat endpoint. At least one message.
Result<ChatRequest, ApiError> parse_chat_request(const Value& body, std::vector<ChatMessage> messages,
                                                 const ParseContext& context);

// The part of a body that makes a prompt: messages, tools, tool_choice, template options. Also for
// /apply-template and /tokenize, which take nothing else.
Result<ChatRequest, ApiError> parse_chat_prompt(const Value& body);

}  // namespace qwend
