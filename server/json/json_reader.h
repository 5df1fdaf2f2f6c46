// The front through which every byte of client JSON comes in: strict RFC 8259 with caps on depth and size.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/text/value.h"

namespace qwend::json {

inline constexpr int kMaxDepth = 64;             // nested arrays and objects
inline constexpr size_t kMaxValues = 1'000'000;  // scalars, arrays and objects together

// A sentence for the client that says what is wrong and at which byte.
using ParseError = std::string;

// Parses one JSON text (a leading byte order mark is fine). Refused: trailing bytes, comments, NaN and
// numbers that overflow a double, invalid UTF-8, lone surrogates, raw control characters, duplicate keys,
// more than kMaxDepth levels, more than kMaxValues values. Integers become int64_t (uint64_t above its
// range), other numbers double. Linear in the text's length up to the sort that finds duplicate keys; the
// stack used does not depend on the input.
Result<Value, ParseError> parse(std::string_view text);

}  // namespace qwend::json
