// Text from a file made fit for one line of a message.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace qwend::gguf {

// In double quotes; control characters, quotes and bytes that are not UTF-8 are escaped (\n, \", \xNN), and
// what goes beyond `max_chars` code points is cut and marked by an ellipsis.
std::string quoted(std::string_view text, size_t max_chars = 80);

// UTF-8 without control characters: can be printed as it is.
bool is_printable(std::string_view text);

}  // namespace qwend::gguf
