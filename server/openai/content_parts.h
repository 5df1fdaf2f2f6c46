// Message content: a string, or a list of typed parts whose text is joined. Shared by all dialects.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "server/openai/fields.h"

namespace qwend {

// One kind of part, and the member that holds its text.
struct TextPart {
  std::string_view type, member;
};

// The part's type; part must be an object.
Result<std::string, ApiError> read_part_type(const Value& part, const std::string& path);
// What a part of any other kind is answered: unsupported where the kind is known (images, files), else
// invalid. The first of `kinds` is named as what is allowed.
ApiError refuse_part(std::string_view type, const std::string& path, std::span<const TextPart> kinds);
Result<std::string, ApiError> read_text_part(const Value& part, const std::string& path,
                                             std::span<const TextPart> kinds);
// A string, or at least one part of these kinds.
Result<std::string, ApiError> read_text_content(const Value& value, const std::string& path,
                                                std::span<const TextPart> kinds);

}  // namespace qwend
