// A JSON-like value with ordered keys: how tool definitions and arguments travel from the API layer to the
// chat templates without the engine knowing JSON.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace qwend {

struct Value;
using ValueArray = std::vector<Value>;
using ValueObject = std::vector<std::pair<std::string, Value>>;  // input order

struct Value {
  std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, ValueArray, ValueObject> data = nullptr;
  bool operator==(const Value&) const = default;
  const Value* find(std::string_view key) const;  // member of an object, nullptr when absent or not an object
};

// json.dumps(value, ensure_ascii=False): ", " and ": ", keys in input order, Python's float repr.
std::string to_python_json(const Value& value);
// str(value): strings as they are; True, False, None; floats and containers as Python's repr prints them
// (single quotes, nan, inf).
std::string to_python_str(const Value& value);

}  // namespace qwend
