// Calls as Qwen3-Coder and Qwen3.5 write them.
#include <random>
#include <regex>

#include "server/json/json_reader.h"
#include "server/openai/argument_types.h"
#include "tests/support/parsed_calls.h"

using namespace qwend;
using test::Parsed;

namespace {

Value value_of(const std::string& text) {
  auto parsed = json::parse(text);
  INFO(text);
  REQUIRE(parsed.ok());
  return std::move(parsed).value();
}

const std::string kTool =
    R"({"type":"function","function":{"name":"edit","parameters":{"type":"object","properties":{
  "path":{"type":"string"},"line":{"type":"integer"},"ratio":{"type":"number"},"force":{"type":"boolean"},
  "lines":{"type":"array","items":{"type":"integer"}},"meta":{"type":"object"},
  "note":{"type":["string","null"]},"size":{"anyOf":[{"type":"integer"},{"type":"string"}]},"any":{}}}}})";

ToolCallOptions options(bool parallel = true) {
  return {.format = ToolCallFormat::Xml,
          .parallel = parallel,
          .tools = std::make_shared<const std::vector<Value>>(std::vector<Value>{value_of(kTool)})};
}

Parsed parse_every_way(std::string_view text, bool parallel = true, std::string_view primed = "") {
  return test::parse_every_way(text, options(parallel), primed);
}

std::string parameter(const std::string& name, const std::string& value) {
  return "<parameter=" + name + ">\n" + value + "\n</parameter>\n";
}
std::string call(const std::string& parameters, const std::string& name = "edit") {
  return "<tool_call>\n<function=" + name + ">\n" + parameters + "</function>\n</tool_call>";
}

}  // namespace

TEST_CASE("an XML call: arguments get the types of the schema", "[server][tools]") {
  const std::string text =
      call(parameter("path", "a \"b\"\n\tc") + parameter("line", "12") + parameter("ratio", "0.5") +
           parameter("force", "True") + parameter("lines", "[1, 2]") + parameter("meta", "{\"a\": null}"));
  CHECK(parse_every_way(text) ==
        Parsed{"",
               {{"edit", R"({"path": "a \"b\"\n\tc", "line": 12, "ratio": 0.5, "force": true, )"
                         R"("lines": [1, 2], "meta": {"a": null}})"}}});
}

TEST_CASE("XML arguments that are not what the schema says are strings", "[server][tools]") {
  CHECK(parse_every_way(call(parameter("line", "twelve") + parameter("lines", "{\"a\": 1}"))) ==
        Parsed{"", {{"edit", R"({"line": "twelve", "lines": "{\"a\": 1}"})"}}});
  CHECK(parse_every_way(call(parameter("path", "12") + parameter("unknown", "true"))) ==
        Parsed{"", {{"edit", R"({"path": "12", "unknown": "true"})"}}});
  CHECK(parse_every_way(call(parameter("note", "null") + parameter("note", "x") + parameter("size", "3") +
                             parameter("size", "big") + parameter("any", "[1]"))) ==
        Parsed{"", {{"edit", R"({"note": null, "note": "x", "size": 3, "size": "big", "any": [1]})"}}});
}

TEST_CASE("one newline at each end of an XML value belongs to the markup", "[server][tools]") {
  CHECK(parse_every_way(call(parameter("path", "\n x \n"))) ==
        Parsed{"", {{"edit", R"({"path": "\n x \n"})"}}});
  CHECK(parse_every_way(call(parameter("path", ""))) == Parsed{"", {{"edit", R"({"path": ""})"}}});
  CHECK(parse_every_way(call("<parameter=path></parameter>\n<parameter=line>7</parameter>")) ==
        Parsed{"", {{"edit", R"({"path": "", "line": 7})"}}});
}

TEST_CASE("an XML value may contain closing tags", "[server][tools]") {
  const std::string inner = "</parameter> <b>\n</function>\n</parameter>\nx<parameter=y>\n</tool_call>";
  CHECK(parse_every_way(call(parameter("path", inner) + parameter("line", "1"))) ==
        Parsed{"",
               {{"edit", R"({"path": "</parameter> <b>\n</function>\n</parameter>\nx<parameter=y>\n)"
                         R"(</tool_call>", "line": 1})"}}});
}

TEST_CASE("XML calls without arguments, several, and text around them", "[server][tools]") {
  CHECK(parse_every_way(call("", "stop")) == Parsed{"", {{"stop", "{}"}}});
  const std::string two = "I will.\n\n" + call(parameter("line", "1")) + "\n" + call(parameter("line", "2"));
  CHECK(parse_every_way(two) == Parsed{"I will.", {{"edit", R"({"line": 1})"}, {"edit", R"({"line": 2})"}}});
  CHECK(parse_every_way(two, false) == Parsed{"I will.", {{"edit", R"({"line": 1})"}}});
}

TEST_CASE("XML tags that models forget", "[server][tools]") {
  const Parsed expected{"", {{"edit", R"({"line": 1})"}}};
  CHECK(parse_every_way("<function=edit>\n<parameter=line>\n1\n</parameter>\n</function>") == expected);
  CHECK(parse_every_way("<function=edit>\n<parameter=line>\n1\n</parameter>\n</function>\n</tool_call>") ==
        expected);
  CHECK(parse_every_way("<tool_call>\n<function=edit>\n<parameter=line>\n1\n</parameter>\n</tool_call>") ==
        expected);
  CHECK(parse_every_way("<tool_call>\n<function=edit>\n<parameter=line>\n1\n</function>\n</tool_call>") ==
        expected);
  CHECK(parse_every_way("<tool_call>\n<function=stop>\n</tool_call>") == Parsed{"", {{"stop", "{}"}}});
}

TEST_CASE("a malformed XML call becomes content", "[server][tools]") {
  for (const std::string text : {
           "<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
           "<tool_call>\n<function=>\n</function>",
           "<tool_call>\n<function=a\nb>",
           "<tool_call>\n<function",
           "use <function> or <functional=x",
       })
    CHECK(parse_every_way(text) == Parsed{text, {}});
  CHECK(parse_every_way("<tool_call>oops" + call("", "stop")) == Parsed{"<tool_call>oops", {{"stop", "{}"}}});
}

TEST_CASE("XML arguments are valid JSON also where the call breaks", "[server][tools]") {
  CHECK(parse_every_way("<tool_call>\n<function=edit>\noops") == Parsed{"oops", {{"edit", "{}"}}});
  CHECK(parse_every_way("<tool_call>\n<function=edit>\n" + parameter("line", "1") + "<parameter=\noops") ==
        Parsed{"\noops", {{"edit", R"({"line": 1})"}}});
}

TEST_CASE("an XML value that breaks off stays open", "[server][tools]") {
  CHECK(parse_every_way("<tool_call>\n<function=edit>\n<parameter=path>\nab\n</param") ==
        Parsed{"", {{"edit", "{\"path\": \"ab\\n</param"}}});
  CHECK(parse_every_way("<tool_call>\n<function=edit>\n<parameter=line>\n12") ==
        Parsed{"", {{"edit", "{\"line\": "}}});
  CHECK(parse_every_way("<tool_call>\n<function=edit>\n<parameter=path>\nab\n</parameter>\n") ==
        Parsed{"", {{"edit", "{\"path\": \"ab\""}}});
}

TEST_CASE("an XML call that the prompt has begun", "[server][tools]") {
  CHECK(parse_every_way("<parameter=line>\n1\n</parameter>\n</function>\n</tool_call>", true,
                        "<tool_call>\n<function=edit>\n") == Parsed{"", {{"edit", R"({"line": 1})"}}});
  CHECK(parse_every_way("=stop>\n</function>\n</tool_call>", true, "<tool_call>\n<function") ==
        Parsed{"", {{"stop", "{}"}}});
}

TEST_CASE("XML text arguments stream as they are written", "[server][tools]") {
  ToolCallParser parser(options());
  ToolCallParser::Output out;
  parser.push("<tool_call>\n<function=edit>", out);
  CHECK(out.calls == std::vector<ToolCallDelta>{{0, "edit", ""}});
  out = {};
  parser.push("\n<parameter=path>\nsrc/", out);
  CHECK(out.calls == std::vector<ToolCallDelta>{{0, "", "{\"path\": \"src/"}});
  out = {};
  parser.push("a\nb\n</para", out);
  CHECK(out.calls == std::vector<ToolCallDelta>{{0, "", "a\\nb"}});
}

TEST_CASE("whatever an XML value is, it is read back", "[server][tools]") {
  std::mt19937 random(3);
  const std::vector<std::string> pieces{"a", " ",   "\n", "<", ">",  "\"",           "\\",         "\t",
                                        "é", "</p", "x=", "{", "}]", "</parameter>", "<parameter="};
  for (int round = 0; round < 300; ++round) {
    std::string value;
    for (size_t i = random() % 12; i > 0; --i) value += pieces[random() % pieces.size()];
    const std::string text = call(parameter("path", value) + parameter("unknown", value));
    // A value that reads as the end of itself can't be told from it.
    static const std::regex end("</parameter>\\s*(<parameter=|$)");
    if (std::regex_search(value, end)) continue;
    INFO(text);
    const Parsed parsed = parse_every_way(text);
    REQUIRE(parsed.calls.size() == 1);
    const Value arguments = value_of(parsed.calls[0].arguments);
    CHECK(arguments == Value{ValueObject{{"path", Value{value}}, {"unknown", Value{value}}}});
  }
}

TEST_CASE("any text in any pieces parses the same", "[server][tools]") {
  const std::vector<std::string> pieces{"<tool_call>",
                                        "</tool_call>",
                                        "<function=",
                                        "edit",
                                        "stop",
                                        ">",
                                        "\n",
                                        "</function>",
                                        "<parameter=",
                                        "path",
                                        "line",
                                        "</parameter>",
                                        "12",
                                        "text",
                                        " ",
                                        "<",
                                        "{\"name\": \"f\", \"arguments\": {",
                                        "\"x\": 1",
                                        "}}",
                                        "\"",
                                        "\\"};
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t i = 1 + random() % 24; i > 0; --i) text += pieces[random() % pieces.size()];
    INFO(text);
    for (const ToolCallFormat format : {ToolCallFormat::Json, ToolCallFormat::Xml}) {
      ToolCallOptions how = options(random() % 4 != 0);
      how.format = format;
      how.known_names_only = random() % 4 == 0;
      const Parsed whole = test::parse(text, text.size(), how);
      for (int cut = 0; cut < 4; ++cut) CHECK(test::parse(text, 1 + random() % 7, how) == whole);
      for (const test::Call& one : whole.calls) CHECK_FALSE(one.name.empty());
      if (whole.calls.empty()) CHECK(whole.content == text);  // nothing is lost
    }
  }
}

TEST_CASE("types of a parameter's schema", "[server][tools]") {
  const auto types = [](const std::string& schema) { return types_of_schema(value_of(schema)); };
  CHECK(types(R"({"type":"string"})").only_string());
  CHECK(types(R"({"enum":["a","b"]})").only_string());
  CHECK(types(R"({"anyOf":[{"type":"string"},{"const":"x"}]})").only_string());
  CHECK(types(R"({"type":["integer","null"]})") == ArgumentTypes{.integer = true, .null = true});
  CHECK(types(R"({"type":"string","nullable":true})") == ArgumentTypes{.string = true, .null = true});
  CHECK(types(R"({"$ref":"#/$defs/x"})").object);
  CHECK(types("{}").array);
  CHECK(argument_json(" 5.0\n", {.integer = true}) == "5.0");
  CHECK(argument_json("5.5", {.string = true, .integer = true}) == "\"5.5\"");
  CHECK(argument_json("None", {.null = true}) == "null");
  CHECK(argument_json("None", {.string = true}) == "\"None\"");
}
