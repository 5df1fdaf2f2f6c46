// Values as Python prints them. The expected texts are what json.dumps(v, ensure_ascii=False) and str(v)
// give.
#include <limits>

#include "engine/text/value.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

std::string json(Value value) { return to_python_json(value); }
std::string str(Value value) { return to_python_str(value); }

}  // namespace

TEST_CASE("value: numbers as Python prints them", "[unit][value]") {
  CHECK(json({int64_t{0}}) == "0");
  CHECK(json({std::numeric_limits<int64_t>::min()}) == "-9223372036854775808");
  CHECK(json({std::numeric_limits<uint64_t>::max()}) == "18446744073709551615");
  const std::pair<double, const char*> floats[] = {
      {0.0, "0.0"},
      {-0.0, "-0.0"},
      {1.0, "1.0"},
      {-2.5, "-2.5"},
      {0.1, "0.1"},
      {100.0, "100.0"},
      {123456789.125, "123456789.125"},
      {1e15, "1000000000000000.0"},
      {9999999999999998.0, "9999999999999998.0"},
      {1e16, "1e+16"},
      {1.5e16, "1.5e+16"},
      {12345678901234567890.0, "1.2345678901234567e+19"},
      {1e22, "1e+22"},
      {0.0001, "0.0001"},
      {0.00012345, "0.00012345"},
      {0.00001, "1e-05"},
      {-1.5e-7, "-1.5e-07"},
      {1e100, "1e+100"},
      {5e-324, "5e-324"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {1.0 / 3, "0.3333333333333333"},
      {0.1 + 0.2, "0.30000000000000004"},
  };
  for (const auto& [value, text] : floats) {
    CHECK(json({value}) == text);
    CHECK(str({value}) == text);
  }
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(json({infinity}) == "Infinity");
  CHECK(json({-infinity}) == "-Infinity");
  CHECK(json({std::numeric_limits<double>::quiet_NaN()}) == "NaN");
  CHECK(str({-infinity}) == "-inf");
  CHECK(str({std::numeric_limits<double>::quiet_NaN()}) == "nan");
}

TEST_CASE("value: strings and containers as JSON", "[unit][value]") {
  CHECK(json({"a\"b\\c/\n\r\t\b\f\x01\x1f\x7f é 🙂"}) ==
        "\"a\\\"b\\\\c/\\n\\r\\t\\b\\f\\u0001\\u001f\x7f é 🙂\"");
  CHECK(json({nullptr}) == "null");
  CHECK(json({true}) == "true");
  const Value nested{
      ValueObject{{"z", {ValueArray{{int64_t{1}}, {false}, {nullptr}}}}, {"a", {ValueObject{}}}}};
  CHECK(json(nested) == R"({"z": [1, false, null], "a": {}})");
  CHECK(json({ValueArray{}}) == "[]");
}

TEST_CASE("value: str() of Python", "[unit][value]") {
  CHECK(str({"as it \"is\"\n"}) == "as it \"is\"\n");
  CHECK(str({true}) == "True");
  CHECK(str({false}) == "False");
  CHECK(str({nullptr}) == "None");
  CHECK(str({int64_t{-7}}) == "-7");
  CHECK(str({ValueArray{{"string"}, {nullptr}, {true}, {1.0}}}) == "['string', None, True, 1.0]");
  CHECK(str({ValueObject{{"k", {ValueArray{}}}, {"it's", {"x"}}}}) == "{'k': [], \"it's\": 'x'}");
  CHECK(str({ValueArray{{"'\""}, {"\n\t\x01"}, {"é\u200b\u3000🙂"}}}) ==
        R"(['\'"', '\n\t\x01', 'é\u200b\u3000🙂'])");
}

TEST_CASE("value: members of objects", "[unit][value]") {
  const Value object{ValueObject{{"a", {int64_t{1}}}}};
  REQUIRE(object.find("a") != nullptr);
  CHECK(*object.find("a") == Value{int64_t{1}});
  CHECK(object.find("b") == nullptr);
  CHECK(Value{"a"}.find("a") == nullptr);
}
