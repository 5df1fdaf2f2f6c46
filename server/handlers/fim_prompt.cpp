#include "server/handlers/fim_prompt.h"

namespace qwend {
namespace {

// The names that the models saw are unknown here: these say that there is one.
constexpr std::string_view kRepository = "repository", kFile = "file";

bool has_all(const Tokenizer& tokenizer, std::initializer_list<std::string_view> tokens) {
  for (const std::string_view token : tokens)
    if (tokenizer.find(token) < 0) return false;
  return true;
}

}  // namespace

Result<std::vector<int32_t>, ApiError> encode_fim(const Tokenizer& tokenizer, const FimPrompt& prompt,
                                                  std::string_view param, std::string_view files_param) {
  if (!has_all(tokenizer, {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}))
    return unsupported(std::string(param), "this model's vocabulary has no tokens to fill in the middle");
  if (!prompt.files.empty() && !has_all(tokenizer, {"<|repo_name|>", "<|file_sep|>"}))
    return unsupported(std::string(files_param), "this model's vocabulary has no tokens for several files");
  std::vector<TextSegment> segments;
  const auto markup = [&](std::string_view token) {
    segments.push_back({std::string(token), Specials::All});
  };
  const auto text = [&](std::string words) { segments.push_back({std::move(words), Specials::None}); };
  if (!prompt.files.empty()) {
    markup("<|repo_name|>");
    text(std::string(kRepository) + "\n");
    for (const auto& [name, content] : prompt.files) {
      markup("<|file_sep|>");
      text(name + "\n" + content + "\n");
    }
    markup("<|file_sep|>");
    text(std::string(kFile) + "\n");
  }
  markup("<|fim_prefix|>");
  text(prompt.prefix);
  markup("<|fim_suffix|>");
  text(prompt.suffix);
  markup("<|fim_middle|>");
  text(prompt.begun);
  return tokenizer.encode(segments);
}

}  // namespace qwend
