// From what a client asked for to what the engine runs: defaults, limits and deadlines filled in.
#pragma once
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/types.h"
#include "server/app.h"
#include "server/openai/generation_params.h"

namespace qwend {

// `prompt` is not empty. `key_name` is the API key that let the request in: prefixes are shared within a key
// only. max_tokens is cut to what is left of the context. Error: the prompt is too long (400
// context_length_exceeded).
Result<GenerationRequest, ApiError> to_generation_request(const GenerationParams& params,
                                                          std::vector<int32_t> prompt, const App& app,
                                                          std::string_view key_name,
                                                          std::string_view prompt_param);

// What return_params shows: a JSON object of the sampling settings that were used.
std::string params_to_json(const GenerationRequest& request);

}  // namespace qwend
