// Fill in the middle: the prompt that Qwen-Coder models were trained on.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/text/tokenizer.h"
#include "server/openai/errors.h"

namespace qwend {

struct FimPrompt {
  std::string prefix, suffix;
  std::string begun;                                       // text that the middle already has
  std::vector<std::pair<std::string, std::string>> files;  // name and text of other files of the repository
};

// <|fim_prefix|>prefix<|fim_suffix|>suffix<|fim_middle|>begun; other files go before it behind <|repo_name|>
// and
// <|file_sep|>. Clients' words never become control tokens. The error (400 unsupported) says that the
// vocabulary lacks the tokens and names `param`, or `files_param` for those of other files.
Result<std::vector<int32_t>, ApiError> encode_fim(const Tokenizer& tokenizer, const FimPrompt& prompt,
                                                  std::string_view param, std::string_view files_param = "");

}  // namespace qwend
