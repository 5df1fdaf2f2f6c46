// Log-probabilities in the two shapes of the API.
#pragma once
#include <span>
#include <string>

#include "engine/text/tokenizer.h"
#include "engine/types.h"
#include "server/json/json_writer.h"

namespace qwend {

// [{"token","logprob","bytes","top_logprobs":[…]}]
void write_logprob_entries(json::JsonWriter& writer, std::span<const TokenOutput> tokens,
                           const Tokenizer& tokenizer);

// {"content":[…],"refusal":null}
void write_chat_logprobs(json::JsonWriter& writer, std::span<const TokenOutput> tokens,
                         const Tokenizer& tokenizer);

// {"tokens","token_logprobs","top_logprobs","text_offset"} of /v1/completions. One writer a choice: offsets
// count characters (code points) from the beginning of the choice's text and go on from chunk to chunk.
class LegacyLogprobs {
 public:
  explicit LegacyLogprobs(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // `prompt` are the prompt's tokens when echoed: the very first has no log-probability.
  void write(json::JsonWriter& writer, std::span<const TokenOutput> prompt,
             std::span<const TokenOutput> generated);

 private:
  const Tokenizer* tokenizer_;
  int64_t offset_ = 0;
};

// The token as text. A token that isn't UTF-8 by itself is "bytes:\xe2\x82", so that different tokens never
// look alike.
std::string token_text(int32_t token, const Tokenizer& tokenizer);

}  // namespace qwend
