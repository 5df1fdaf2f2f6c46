// Vocabularies for tests: a small one made here, and Qwen2's from the reference data.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "engine/text/tokenizer.h"

namespace qwend::test {

// `bytes` written in GPT-2's byte alphabet.
std::string to_byte_alphabet(std::string_view bytes);

// Ids 0-255: the bytes. 256..: merges for "th", "the", " the", "\n\n", " t", "an", "and", " and" and a few
// more. Then specials: <|endoftext|>, <|im_start|>, <|im_end|> (CONTROL), <think>, </think> (USER_DEFINED),
// and two UNUSED.
Vocabulary small_vocabulary();

// Appends a token and returns its id.
int32_t add_token(Vocabulary& vocabulary, std::string text, TokenType type);

// Qwen2's vocab.json and merges.txt with its three control tokens; nothing where the data is missing.
std::optional<Vocabulary> qwen2_vocabulary();
std::string qwen2_tokenizer_folder();  // ends in '/'

}  // namespace qwend::test
