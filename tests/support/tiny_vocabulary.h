// A vocabulary small enough to reason about: one token a byte, some longer ones, the usual control tokens.
#pragma once
#include <memory>
#include <string>

#include "engine/text/tokenizer.h"

namespace qwend::testing {

// Token b is byte b for b in [0, 256). Then:
struct TinyVocabulary {
  static constexpr int32_t kAb = 256, kEnd = 257,
                           kStopWord = 258;  // "ab", "<|im_end|>", "stop" (user-defined)
  static constexpr int32_t kEndOfText = 259, kControl = 260, kUnused = 261;
  static constexpr int32_t kSize = 262;

  static std::string utf8(uint32_t code) {
    if (code < 0x80) return {static_cast<char>(code)};
    return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  }

  // GPT-2's alphabet: printable bytes stand for themselves, the others for code points from 256 on.
  static Vocabulary make() {
    Vocabulary v;
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      v.tokens.push_back(utf8(printable ? byte : next++));
    }
    v.types.assign(256, TokenType::Normal);
    const auto add = [&](const char* text, TokenType type) {
      v.tokens.push_back(text);
      v.types.push_back(type);
    };
    add("ab", TokenType::Normal);
    add("<|im_end|>", TokenType::Control);
    add("stop", TokenType::UserDefined);
    add("<|endoftext|>", TokenType::Control);
    add("<|im_start|>", TokenType::Control);
    add("[PAD261]", TokenType::Unused);
    v.merges = {"a b"};
    v.eos = kEnd;
    return v;
  }

  static std::shared_ptr<const Tokenizer> tokenizer() {
    static const auto shared = std::make_shared<const Tokenizer>(make());
    return shared;
  }
};

}  // namespace qwend::testing
