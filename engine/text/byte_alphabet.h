// GPT-2's printable alphabet: how byte strings are written in vocabularies and merges.
#pragma once
#include <string>
#include <string_view>

namespace qwend {

// Appends the bytes that `text` spells in the alphabet. Returns false, with out unchanged, if some character
// is not in it. (Bytes 21-7E, A1-AC and AE-FF stand for themselves as code points; the other 68, in
// increasing order, are U+0100, U+0101, ...)
bool append_from_byte_alphabet(std::string_view text, std::string& out);

}  // namespace qwend
