// A stream's chunks put together again, as clients do.
#pragma once
#include <string>
#include <vector>

#include "tests/server/api_fixture.h"

namespace qwend::test {

struct Joined {
  std::string content, reasoning, finish_reason;
  Json tool_calls = Json::array();
  int text_chunks = 0;
};

inline Joined join_choice(const std::vector<Json>& chunks, int index = 0) {
  Joined joined;
  bool first = true;
  for (const Json& chunk : chunks) {
    for (const Json& choice : chunk["choices"]) {
      if (choice["index"] != index) continue;
      const Json& delta = choice["delta"];
      CHECK(delta.contains("role") == first);
      first = false;
      CHECK(joined.finish_reason.empty());  // nothing after the finish chunk
      if (delta.contains("content") && delta["content"].is_string()) joined.content += delta["content"];
      if (delta.contains("reasoning_content")) joined.reasoning += delta["reasoning_content"];
      joined.text_chunks += choice["finish_reason"].is_null();
      for (const Json& call : delta.value("tool_calls", Json::array())) {
        const size_t i = call["index"];
        if (call.contains("id")) {
          REQUIRE(i == joined.tool_calls.size());
          joined.tool_calls.push_back(call);
        } else {
          std::string arguments = joined.tool_calls[i]["function"]["arguments"];
          arguments += call["function"]["arguments"];
          joined.tool_calls[i]["function"]["arguments"] = arguments;
        }
      }
      if (choice["finish_reason"].is_string()) {
        joined.finish_reason = choice["finish_reason"];
        CHECK(delta.empty());
      }
    }
  }
  return joined;
}

}  // namespace qwend::test
