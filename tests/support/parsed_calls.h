// What a client puts together from a tool-call parser's output.
#pragma once
#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/tool_call_parser.h"
#include "tests/support/catch2.h"

namespace qwend::test {

struct Call {
  std::string name, arguments;
  bool operator==(const Call&) const = default;
};

struct Parsed {
  std::string content;
  std::vector<Call> calls;
  bool operator==(const Parsed&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Parsed& parsed) {
  out << "content '" << parsed.content << "'";
  for (const Call& call : parsed.calls) out << " call " << call.name << " '" << call.arguments << "'";
  return out;
}

inline void collect(const ToolCallParser::Output& out, Parsed& parsed) {
  parsed.content += out.content;
  for (const ToolCallDelta& delta : out.calls) {
    if (!delta.name.empty()) {
      REQUIRE(delta.index == static_cast<int32_t>(parsed.calls.size()));
      parsed.calls.push_back({delta.name, ""});
    }
    REQUIRE(delta.index == static_cast<int32_t>(parsed.calls.size()) - 1);
    parsed.calls.back().arguments += delta.arguments;
  }
}

// In pieces of `size` bytes.
inline Parsed parse(std::string_view text, size_t size, const ToolCallOptions& options,
                    std::string_view primed = "") {
  ToolCallParser parser(options);
  Parsed parsed;
  ToolCallParser::Output first;
  parser.push(primed, first);
  collect(first, parsed);
  for (size_t i = 0; i < text.size(); i += size) {
    ToolCallParser::Output out;
    parser.push(text.substr(i, size), out);
    collect(out, parsed);
  }
  ToolCallParser::Output out;
  parser.finish(out);
  collect(out, parsed);
  CHECK(parser.num_calls() == static_cast<int32_t>(parsed.calls.size()));
  return parsed;
}

// The same however the text is cut.
inline Parsed parse_every_way(std::string_view text, const ToolCallOptions& options,
                              std::string_view primed = "") {
  const Parsed whole = parse(text, std::max<size_t>(text.size(), 1), options, primed);
  for (size_t size = 1; size <= 9; ++size) CHECK(parse(text, size, options, primed) == whole);
  return whole;
}

}  // namespace qwend::test
