// Vocabularies for tests: a small one made here, and Qwen2's from the reference data.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/text/tokenizer.h"

namespace qwend::test {

// `bytes` written in GPT-2's byte alphabet.
std::string to_byte_alphabet(std::string_view bytes);

// A vocabulary small enough to reason about. Ids 0-255: the bytes. 256..: merges for "th", "the", " the",
// "\n\n", " t", "an", "and", " and" and a few more. Then specials: <|endoftext|>, <|im_start|>, <|im_end|>
// (CONTROL), <think>, </think> (USER_DEFINED), and two UNUSED.
Vocabulary small_vocabulary();
std::shared_ptr<const Tokenizer> small_tokenizer();  // made once
inline constexpr int32_t kTh = 256, kEndOfText = 269, kImEnd = 271, kUnused = 274;
inline constexpr int32_t kSmallVocabularySize = 276;

// Appends a token and returns its id.
int32_t add_token(Vocabulary& vocabulary, std::string text, TokenType type);

// Qwen2's vocab.json and merges.txt with its three control tokens; nothing where the data is missing.
std::optional<Vocabulary> qwen2_vocabulary();
std::string qwen2_tokenizer_folder();  // ends in '/'

}  // namespace qwend::test
