// `qwend tokenize`: what the tokenizer makes of a text.
#pragma once
#include <iosfwd>
#include <string_view>

#include "engine/text/tokenizer.h"

namespace qwend::cli {

// Prints one line a token (id, type unless NORMAL, text with escapes) and the count; with `json` one object:
//   {"count": 2, "tokens": [{"id": 9707, "type": "NORMAL", "text": "Hello"}, …]}
// where a token that is not whole UTF-8 also has "bytes", its bytes as numbers. `specials`: the text of
// control tokens becomes those tokens. Returns an exit code.
int run_tokenize(const Tokenizer& tokenizer, std::string_view text, bool json, bool specials,
                 std::ostream& out);

}  // namespace qwend::cli
