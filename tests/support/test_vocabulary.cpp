#include "tests/support/test_vocabulary.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/text/utf8.h"
#include "kernels/check.h"
#include "tests/support/reference_data.h"

namespace qwend::test {

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    char32_t code_point = byte;
    if (byte <= 0x20) code_point = 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0) code_point = 0x100u + 33 + (byte - 0x7Fu);
    if (byte == 0xAD) code_point = 0x100u + 67;
    append_utf8(text, code_point);
  }
  return text;
}

int32_t add_token(Vocabulary& vocabulary, std::string text, TokenType type) {
  vocabulary.tokens.push_back(std::move(text));
  vocabulary.types.push_back(type);
  return static_cast<int32_t>(vocabulary.tokens.size()) - 1;
}

Vocabulary small_vocabulary() {
  Vocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    add_token(vocabulary, to_byte_alphabet(std::string(1, static_cast<char>(byte))), TokenType::Normal);
  }
  const std::pair<const char*, const char*> merges[] = {
      {"t", "h"},  {"th", "e"},  {" ", "t"},   {" t", "he"}, {"h", "e"},   {" ", "the"}, {"a", "n"},
      {"an", "d"}, {" ", "and"}, {"\n", "\n"}, {" ", " "},   {"  ", "  "}, {"a", "a"},   {"aa", "aa"},
  };
  for (const auto& [left, right] : merges) {
    const std::string whole = to_byte_alphabet(std::string(left) + right);
    vocabulary.merges.push_back(to_byte_alphabet(left) + " " + to_byte_alphabet(right));
    const bool known =
        std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), whole) != vocabulary.tokens.end();
    if (!known) add_token(vocabulary, whole, TokenType::Normal);
  }
  vocabulary.pad = add_token(vocabulary, "<|endoftext|>", TokenType::Control);
  add_token(vocabulary, "<|im_start|>", TokenType::Control);
  vocabulary.eos = add_token(vocabulary, "<|im_end|>", TokenType::Control);
  add_token(vocabulary, "<think>", TokenType::UserDefined);
  add_token(vocabulary, "</think>", TokenType::UserDefined);
  const int32_t unused = add_token(vocabulary, "[PAD0]", TokenType::Unused);
  const int32_t last = add_token(vocabulary, "[PAD1]", TokenType::Unused);
  CHECK(vocabulary.tokens[kTh] == "th" && vocabulary.pad == kEndOfText && vocabulary.eos == kImEnd);
  CHECK(unused == kUnused && last + 1 == kSmallVocabularySize);
  return vocabulary;
}

std::shared_ptr<const Tokenizer> small_tokenizer() {
  static const auto shared = std::make_shared<const Tokenizer>(small_vocabulary());
  return shared;
}

std::string qwen2_tokenizer_folder() { return (reference_data() / "qwen2-tokenizer/").string(); }

std::optional<Vocabulary> qwen2_vocabulary() {
  std::ifstream vocab_file(qwen2_tokenizer_folder() + "vocab.json"),
      merges_file(qwen2_tokenizer_folder() + "merges.txt");
  if (!vocab_file || !merges_file) return std::nullopt;
  Vocabulary vocabulary;
  const nlohmann::json ids = nlohmann::json::parse(vocab_file);
  vocabulary.tokens.resize(ids.size());
  for (const auto& [text, id] : ids.items()) vocabulary.tokens.at(id.get<size_t>()) = text;
  vocabulary.types.assign(ids.size(), TokenType::Normal);
  vocabulary.pad = add_token(vocabulary, "<|endoftext|>", TokenType::Control);
  add_token(vocabulary, "<|im_start|>", TokenType::Control);
  vocabulary.eos = add_token(vocabulary, "<|im_end|>", TokenType::Control);
  std::string line;
  std::getline(merges_file, line);  // "#version: 0.2"
  while (std::getline(merges_file, line)) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) vocabulary.merges.push_back(line);
  }
  return vocabulary;
}

}  // namespace qwend::test
