// POST /infill: llama-server's body as a typed struct.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/openai/generation_params.h"

namespace qwend {

struct InfillRequest {
  GenerationParams params;
  std::string prefix, suffix, begun;                       // input_prefix, input_suffix, prompt
  std::vector<std::pair<std::string, std::string>> files;  // input_extra: name and text
  std::optional<int32_t> n_predict;                        // -1: as much as fits
};
// The endpoint's own parameters, beside generation_fields().
std::span<const Field<InfillRequest>> infill_fields();

Result<InfillRequest, ApiError> parse_infill_request(const Value& body, const ParseContext& context);

}  // namespace qwend
