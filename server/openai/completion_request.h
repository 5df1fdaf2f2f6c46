// POST /v1/completions: the body as a typed struct.
#pragma once
#include <string>
#include <vector>

#include "server/openai/generation_params.h"
#include "server/openai/prompt_input.h"

namespace qwend {

struct CompletionRequest {
  GenerationParams params;
  std::vector<PromptInput> prompts;  // >= 1; choices are ordered by prompt, then n
  bool echo = false;                 // the prompt is part of the text (and of the log-probabilities)
  std::string suffix;                // not empty: fill in the middle
};

// As they come, before rules between them.
struct CompletionFields {
  std::optional<int32_t> logprobs, best_of;
  bool echo = false, add_special_tokens = true;
  std::string suffix;
};

// The table of the completion endpoint's own parameters, beside generation_fields(); prompt is no row.
std::span<const Field<CompletionFields>> completion_fields();

Result<CompletionRequest, ApiError> parse_completion_request(const Value& body, const ParseContext& context);

}  // namespace qwend
