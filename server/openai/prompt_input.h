// Raw prompts: the four shapes that OpenAI's older endpoints take.
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "server/openai/fields.h"

namespace qwend {

// Text still to be tokenised, or token ids as the client gave them.
using PromptInput = std::variant<std::string, std::vector<int32_t>>;

// A string, token ids, a list of strings or a list of token-id lists. At least one; none is empty.
Result<std::vector<PromptInput>, ApiError> read_prompts(const Value& value, const std::string& path,
                                                        const ParseContext& context);

inline constexpr char kPromptSchema[] =
    R"({"oneOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"items":{"oneOf":[)"
    R"({"type":"integer","minimum":0},{"type":"string","minLength":1},)"
    R"({"type":"array","minItems":1,"items":{"type":"integer","minimum":0}}]}}]})";

}  // namespace qwend
