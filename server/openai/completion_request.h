// POST /v1/completions: the body as a typed struct.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "server/openai/generation_params.h"

namespace qwend {

// Text still to be tokenised, or token ids as the client gave them.
using PromptInput = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationParams params;
  std::vector<PromptInput> prompts;  // >= 1; choices are ordered by prompt, then n
  bool echo = false;                 // the prompt is part of the text (and of the log-probabilities)
  std::string suffix;                // not empty: fill in the middle
};

Result<CompletionRequest, ApiError> parse_completion_request(const Value& body, const ParseContext& context);

}  // namespace qwend
