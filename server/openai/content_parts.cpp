#include "server/openai/content_parts.h"

#include <algorithm>

namespace qwend {

Result<std::string, ApiError> read_part_type(const Value& part, const std::string& path) {
  if (auto object = read_object(part, path); !object) return object.error();
  const Value* type = find_present(part, "type");
  if (type == nullptr) return missing_parameter(at(path, "type"));
  return read_string(*type, at(path, "type"));
}

ApiError refuse_part(std::string_view type, const std::string& path, std::span<const TextPart> kinds) {
  static constexpr std::string_view kKnown[] = {"image_url",   "input_audio", "file",
                                                "video_url",   "input_image", "input_file",
                                                "input_video", "image",       "document"};
  if (std::ranges::find(kKnown, type) != std::end(kKnown))
    return unsupported(path, "parts of type '" + std::string(type) + "' are not supported by this model");
  return invalid_value(at(path, "type"), "must be '" + std::string(kinds.front().type) + "'");
}

Result<std::string, ApiError> read_text_part(const Value& part, const std::string& path,
                                             std::span<const TextPart> kinds) {
  auto type = read_part_type(part, path);
  if (!type) return type;
  const auto kind = std::ranges::find(kinds, type.value(), &TextPart::type);
  if (kind == kinds.end()) return refuse_part(type.value(), path, kinds);
  const Value* text = find_present(part, kind->member);
  if (text == nullptr) return missing_parameter(at(path, kind->member));
  return read_string(*text, at(path, kind->member));
}

Result<std::string, ApiError> read_text_content(const Value& value, const std::string& path,
                                                std::span<const TextPart> kinds) {
  if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
  const auto* parts = std::get_if<ValueArray>(&value.data);
  if (parts == nullptr) return invalid_type(path, "a string or an array of content parts", type_name(value));
  if (parts->empty()) return invalid_value(path, "must have at least one part");
  std::string joined;
  for (size_t i = 0; i < parts->size(); ++i) {
    auto text = read_text_part((*parts)[i], at(path, i), kinds);
    if (!text) return text;
    joined += text.value();
  }
  return joined;
}

}  // namespace qwend
