// Incremental token -> text: never emits broken UTF-8.
#pragma once
#include <cstdint>
#include <string>

#include "engine/text/tokenizer.h"
#include "engine/text/utf8.h"

namespace qwend {

// One a sequence; one thread at a time. push() returns the text that became complete: an incomplete
// UTF-8 tail is held back, bytes that can no longer become valid are U+FFFD. flush() returns what is left as
// U+FFFD. All text joined equals Tokenizer::decode of all tokens. The tokenizer must outlive the detokenizer.
class Detokenizer {
 public:
  Detokenizer(const Tokenizer& tokenizer, bool keep_control)
      : tokenizer_(&tokenizer), keep_control_(keep_control) {}
  std::string push(int32_t token);  // token must be in [0, tokenizer.size())
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  bool keep_control_;
  std::string pending_;  // at most 3 bytes
};

}  // namespace qwend
