#include <string>
#include <vector>

#include "server/openai/json_scanner.h"
#include "tests/support/parsed_calls.h"

using namespace qwend;
using test::Parsed;

namespace {

Parsed parse_every_way(std::string_view text, bool parallel = true, std::string_view primed = "") {
  return test::parse_every_way(text, {.format = ToolCallFormat::Json, .parallel = parallel}, primed);
}

}  // namespace

TEST_CASE("text without calls is content, byte for byte", "[server][tools]") {
  for (const std::string text :
       {"", "Hello", " a \n\n b \n", "1 < 2 and <tool> and <tool_cal", "<<tool_call", "\n\n"})
    CHECK(parse_every_way(text) == Parsed{text, {}});
}

TEST_CASE("a call", "[server][tools]") {
  const std::string text =
      "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Zürich\"}}\n</tool_call>";
  CHECK(parse_every_way(text) == Parsed{"", {{"get_weather", "{\"city\": \"Zürich\"}"}}});
}

TEST_CASE("text before a call loses only the white space between them", "[server][tools]") {
  const std::string text = "Let me see.\n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n";
  CHECK(parse_every_way(text) == Parsed{"Let me see.", {{"f", "{}"}}});
}

TEST_CASE("parallel calls, and only the first when they are off", "[server][tools]") {
  const std::string text =
      "<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": 1}}\n</tool_call>\n"
      "<tool_call>\n{\"name\": \"b\", \"arguments\": {\"y\": [1, {\"z\": null}]}}\n</tool_call>";
  CHECK(parse_every_way(text) == Parsed{"", {{"a", "{\"x\": 1}"}, {"b", "{\"y\": [1, {\"z\": null}]}"}}});
  CHECK(parse_every_way(text, false) == Parsed{"", {{"a", "{\"x\": 1}"}}});
}

TEST_CASE("arguments may come first, as a string, as null or not at all", "[server][tools]") {
  CHECK(parse_every_way("<tool_call>{\"arguments\": {\"x\": 1}, \"name\": \"f\"}</tool_call>") ==
        Parsed{"", {{"f", "{\"x\": 1}"}}});
  CHECK(parse_every_way(R"(<tool_call>{"name": "f", "arguments": "{\"x\": 1}"}</tool_call>)") ==
        Parsed{"", {{"f", "{\"x\": 1}"}}});
  CHECK(parse_every_way("<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>") ==
        Parsed{"", {{"f", "{}"}}});
  CHECK(parse_every_way("<tool_call>{\"name\": \"f\"}</tool_call>") == Parsed{"", {{"f", "{}"}}});
  CHECK(parse_every_way("<tool_call>{\"id\": 12, \"name\": \"f\", \"type\": \"function\"}</tool_call>") ==
        Parsed{"", {{"f", "{}"}}});
}

TEST_CASE("arguments stream as they are written", "[server][tools]") {
  ToolCallParser parser({});
  ToolCallParser::Output out;
  parser.push("<tool_call>\n{\"name\": \"f\", \"argum", out);
  CHECK(out.calls.empty());
  parser.push("ents\": {\"ci", out);
  CHECK(out.calls == std::vector<ToolCallDelta>{{0, "f", "{\"ci"}});
  out = {};
  parser.push("ty\": \"Os", out);
  CHECK(out.calls == std::vector<ToolCallDelta>{{0, "", "ty\": \"Os"}});
}

TEST_CASE("a malformed call becomes content", "[server][tools]") {
  for (const std::string text : {
           "<tool_call>\nnot json\n</tool_call>",
           "<tool_call>\n{\"arguments\": {\"x\": 1}}\n</tool_call>",
           "<tool_call>\n{\"name\": 3, \"arguments\": {}}\n</tool_call>",
           "<tool_call>\n{\"name\": \"f\", \"arguments\": [1]}\n</tool_call>",
           "<tool_call>\n{\"name\": \"f\", \"arguments\": \"x\"}\n</tool_call>",
           "<tool_call>\n{\"name\": \"f\" \"arguments\": {}}\n</tool_call>",
           "<tool_call>\n{name: \"f\"}\n</tool_call>",
           "before <tool_call></tool_call> after",
           "before <tool_call>{\"na",
           "<tool_call>",
       })
    CHECK(parse_every_way(text) == Parsed{text, {}});
}

TEST_CASE("a call after a malformed one is found", "[server][tools]") {
  const Parsed parsed = parse_every_way(
      "<tool_call>oops</tool_call>\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>");
  CHECK(parsed == Parsed{"<tool_call>oops</tool_call>", {{"f", "{}"}}});
}

TEST_CASE("a call right after a broken one", "[server][tools]") {
  CHECK(parse_every_way("<tool_call><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>") ==
        Parsed{"<tool_call>", {{"f", "{}"}}});
}

TEST_CASE("calls of functions that do not exist can be refused", "[server][tools]") {
  const std::string text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>";
  CHECK(test::parse_every_way(text, {.known_names_only = true}) == Parsed{text, {}});
}

TEST_CASE("arguments that break off stay as they are; what follows a break is content", "[server][tools]") {
  CHECK(parse_every_way("<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": [1, 2") ==
        Parsed{"", {{"f", "{\"x\": [1, 2"}}});
  CHECK(parse_every_way("<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": oops") ==
        Parsed{"oops", {{"f", "{\"x\": "}}});
}

TEST_CASE("raw control characters in argument strings are repaired", "[server][tools]") {
  CHECK(parse_every_way("<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": \"a\nb\tc\"}}</tool_call>") ==
        Parsed{"", {{"f", "{\"x\": \"a\\nb\\tc\"}"}}});
}

TEST_CASE("a missing closing tag doesn't lose the call", "[server][tools]") {
  CHECK(parse_every_way("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}") == Parsed{"", {{"f", "{}"}}});
  CHECK(parse_every_way("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\nDone.") ==
        Parsed{"Done.", {{"f", "{}"}}});
}

TEST_CASE("a call that the prompt has begun", "[server][tools]") {
  const std::string named = "<tool_call>\n{\"name\": \"f\", \"arguments\":";
  CHECK(parse_every_way(" {\"x\": 1}}\n</tool_call>", true, named) == Parsed{"", {{"f", "{\"x\": 1}"}}});
  const std::string any = "<tool_call>\n{\"name\": \"";
  CHECK(parse_every_way("g\", \"arguments\": {}}\n</tool_call>", true, any) == Parsed{"", {{"g", "{}"}}});
}

TEST_CASE("the scanner accepts JSON and nothing else", "[server][tools]") {
  const auto accepts = [](std::string_view text) {
    JsonScanner scanner;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto status = scanner.feed(text[i]);
      if (status == JsonScanner::Status::Error) return false;
      if (status == JsonScanner::Status::Done) return i + 1 == text.size();
      if (status == JsonScanner::Status::DoneBefore) return false;
    }
    return false;
  };
  for (const char* text : {"{}", "[]", "\"\"", "{\"a\":{\"b\":[1,-2.5e+3,0,true,false,null,\"\\u00e9\\n\"]}}",
                           "[[],{}]", "{ \"a\" : 1 , \"b\" : [ ] }", "true"})
    CHECK(accepts(text));
  for (const char* text : {"{]", "[}", "{\"a\"}", "{\"a\":}", "{a:1}", "[1,]", "{\"a\":1,}", "[01]", "[1.]",
                           "[-]", "[1e]", "[tru]", "\"\\x\"", "\"\\u12g4\"", "[1 2]", "{\"a\" 1}", ",", ""})
    CHECK_FALSE(accepts(text));
  CHECK_FALSE(accepts(std::string(65, '[') + std::string(65, ']')));
}
