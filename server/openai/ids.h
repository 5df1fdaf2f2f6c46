// Ids of answers and tool calls, made from the request id so that a log line leads from one to the other.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace qwend {

// prefix + 24 hex digits of SHA-256(text): the same text gives the same id.
std::string make_id(std::string_view prefix, std::string_view text);
// The first 64 bits of SHA-256(text).
uint64_t hash64(std::string_view text);

}  // namespace qwend
