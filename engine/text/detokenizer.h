// Incremental token -> text: never emits broken UTF-8.
#pragma once
#include <cstdint>
#include <string>

#include "engine/text/tokenizer.h"

namespace qwend {

// One a sequence; one thread at a time. push() returns the text that became complete; an incomplete
// UTF-8 tail is held back. flush() returns what is left, invalid bytes as U+FFFD.
class Detokenizer {
 public:
  Detokenizer(const Tokenizer& tokenizer, bool keep_control) : tokenizer_(&tokenizer), keep_control_(keep_control) {}
  std::string push(int32_t token);
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  bool keep_control_;
  std::string pending_;  // at most 3 bytes
};

// Replaces each maximal invalid sequence by U+FFFD (Unicode 15, section 3.9). Returns the length of
// an incomplete but so far valid tail through `incomplete_tail` instead of replacing it when that is not null.
std::string sanitize_utf8(std::string_view bytes, size_t* incomplete_tail = nullptr);

}  // namespace qwend
