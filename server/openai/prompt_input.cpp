#include "server/openai/prompt_input.h"

namespace qwend {
namespace {

Result<PromptInput, ApiError> read_prompt(const Value& value, const std::string& path,
                                          const ParseContext& context) {
  if (const auto* text = std::get_if<std::string>(&value.data)) {
    if (text->empty()) return invalid_value(path, "must not be empty");
    return PromptInput(*text);
  }
  if (!std::holds_alternative<ValueArray>(value.data))
    return invalid_type(path, "a string or an array of token ids", type_name(value));
  auto ids = read_token_ids(value, context.vocab_size, path);
  if (!ids) return ids.error();
  if (ids.value().empty()) return invalid_value(path, "must not be empty");
  return PromptInput(std::move(ids).value());
}

}  // namespace

Result<std::vector<PromptInput>, ApiError> read_prompts(const Value& value, const std::string& path,
                                                        const ParseContext& context) {
  const auto* list = std::get_if<ValueArray>(&value.data);
  if (list != nullptr && list->empty()) return invalid_value(path, "must not be empty");
  const bool several = list != nullptr && (std::holds_alternative<std::string>(list->front().data) ||
                                           std::holds_alternative<ValueArray>(list->front().data));
  std::vector<PromptInput> prompts;
  for (size_t i = 0; i < (several ? list->size() : 1); ++i) {
    auto prompt = read_prompt(several ? (*list)[i] : value, several ? at(path, i) : path, context);
    if (!prompt) return prompt.error();
    prompts.push_back(std::move(prompt).value());
  }
  return prompts;
}

}  // namespace qwend
