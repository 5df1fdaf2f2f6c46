#include <string>

#include "server/json/json_reader.h"
#include "server/json/json_writer.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

std::string error_of(std::string_view text) {
  auto parsed = json::parse(text);
  return parsed ? "" : parsed.error();
}

Value value_of(std::string_view text) {
  auto parsed = json::parse(text);
  INFO(text);
  REQUIRE(parsed.ok());
  return std::move(parsed).value();
}

std::string dump(const Value& value) {
  std::string out;
  json::append_value(out, value);
  return out;
}

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("JSON that is not JSON is refused with a position", "[server][json]") {
  const std::string bad[] = {
      "",
      "   ",
      "{",
      "{\"a\":",
      "{\"a\":1",
      "{\"a\":1}}",
      "{\"a\":1} x",
      "{} {}",
      "{'a':1}",
      "{a:1}",
      "{\"a\":1,}",
      "[1,]",
      "[1 2]",
      "tru",
      "NaN",
      "[NaN]",
      "[Infinity]",
      "[-Infinity]",
      "[1e999]",
      "[-1e999]",
      "[01]",
      "[+1]",
      "[.5]",
      "[1.]",
      "[0x10]",
      "// comment\n{}",
      "{/* comment */}",
      "\"\x01\"",
      "\"a\nb\"",
      "\"\xC0\xAF\"",
      "\"\xED\xA0\x80\"",
      "\"\xF5\x80\x80\x80\"",
      "\"\xC3\"",
      "\"\\ud800\"",
      "\"\\udc00\"",
      "\"\\ud800\\u0041\"",
      "\"\\u12\"",
      "\"\\x41\"",
      std::string("\xFF\xFE{\0}\0", 6),
      std::string("{\0\"\0", 4),
      std::string("{}\0", 3),
      std::string(100'000, '['),
  };
  for (const std::string& text : bad) {
    INFO(text.substr(0, 40));
    const std::string error = error_of(text);
    CHECK(error.starts_with("The request body is not valid JSON: "));
    CHECK(error.find("exception") == std::string::npos);
  }
  CHECK(error_of("{\"a\": nope}").find("(byte 8)") != std::string::npos);
}

TEST_CASE("duplicate keys are refused at any depth", "[server][json]") {
  CHECK(error_of(R"({"a":1,"b":2,"a":3})").find("duplicate key \"a\"") != std::string::npos);
  CHECK(error_of(R"([{"x":{"k":1,"k":1}}])").find("duplicate key \"k\"") != std::string::npos);
  CHECK(error_of(R"({"a":1,"\u0061":1})").find("duplicate key") != std::string::npos);
  CHECK(error_of(R"([{"a":1},{"a":1}])").empty());
}

TEST_CASE("depth 64 passes, 65 is refused", "[server][json]") {
  CHECK(error_of(nested(64)).empty());
  CHECK(error_of(nested(65)).find("64 levels") != std::string::npos);
}

TEST_CASE("a million values pass, one more is refused", "[server][json]") {
  std::string many = "[0";
  for (int i = 1; i < 999'999; ++i) many += ",0";  // and the array itself
  CHECK(error_of(many + "]").empty());
  CHECK(error_of(many + ",0]").find("1000000 values") != std::string::npos);
}

TEST_CASE("a byte order mark is fine", "[server][json]") { CHECK(error_of("\xEF\xBB\xBF{\"a\":1}").empty()); }

TEST_CASE("numbers keep their kind", "[server][json]") {
  CHECK(value_of("10") == Value{int64_t{10}});
  CHECK(value_of("-10") == Value{int64_t{-10}});
  CHECK(value_of("10.0") == Value{10.0});
  CHECK(value_of("1e3") == Value{1000.0});
  CHECK(value_of("9223372036854775807") == Value{INT64_MAX});
  CHECK(value_of("18446744073709551615") == Value{UINT64_MAX});
  CHECK(value_of("18446744073709551616") == Value{18446744073709551616.0});
  CHECK(value_of("-9223372036854775808") == Value{INT64_MIN});
}

TEST_CASE("values survive reading and writing, keys in order", "[server][json]") {
  const std::string text =
      R"({"z":1,"a":[true,false,null,-2.5,"\u00e9\ud83d\ude00\"\\\n\t\u0000"],"m":{"k":{}},"e":[]})";
  const Value value = value_of(text);
  CHECK(value_of(dump(value)) == value);
  CHECK(dump(value).starts_with(R"({"z":1,"a":[true,false,null,-2.5,)"));
}

TEST_CASE("what is written is always valid JSON and UTF-8", "[server][json]") {
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes += static_cast<char>(i);
  for (const std::string& bytes :
       {all_bytes, std::string("\xE2\x82"), std::string("\xED\xA0\x80"), std::string()}) {
    std::string out;
    json::append_string(out, bytes);
    CHECK(error_of(out).empty());
  }
  std::string out;
  json::append_string(out, "a\xFF z");
  CHECK(out == "\"a\xEF\xBF\xBD z\"");
}

TEST_CASE("numbers are written in their shortest exact form", "[server][json]") {
  const auto written = [](auto number) {
    std::string out;
    json::append_number(out, number);
    return out;
  };
  CHECK(written(0.7f) == "0.7");
  CHECK(written(-1.25) == "-1.25");
  CHECK(written(-std::numeric_limits<float>::infinity()) == "-9999");
  CHECK(written(std::numeric_limits<double>::quiet_NaN()) == "null");
}

TEST_CASE("the writer puts commas and nothing else", "[server][json]") {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().member("a", 1).key("b").begin_array().value("x").null().begin_object().end_object();
  writer.end_array().key("c").raw("[1]").member("d", true).member("e", int64_t{-1}).end_object();
  CHECK(out == R"({"a":1,"b":["x",null,{}],"c":[1],"d":true,"e":-1})");
}
