// Request parameters as tables: one row a parameter with its name, type, range and where it goes. A parameter
// can't be read without being validated, and both endpoints validate the ones they share in the same way.
// The tables: generation_fields() (generation_params.h), chat_fields() (chat_request.h), completion_fields()
// (completion_request.h). Every row carries the JSON Schema of its value, so they also describe the API.
//
// Everywhere in a request null means absent, and every error names the path of what is wrong, e.g.
// messages[0].content[1].
#pragma once
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/text/value.h"
#include "server/openai/errors.h"

namespace qwend {

// What validation needs to know of the server.
struct ParseContext {
  int32_t vocab_size = 0;
  bool strict_params = false;  // refuse unknown top-level keys
};

// ---- reading one value; `path` is what errors name

std::string_view type_name(const Value& value);  // "an integer", "a string", …
bool is_null(const Value& value);
std::string at(std::string_view path, size_t index);             // path[index]
std::string at(std::string_view path, std::string_view member);  // path.member

Result<int64_t, ApiError> read_integer(const Value& value, int64_t min, int64_t max, std::string path);
Result<double, ApiError> read_number(const Value& value, double min, double max, std::string path);
Result<bool, ApiError> read_bool(const Value& value, std::string path);
Result<std::string, ApiError> read_string(const Value& value, std::string path);
// One of a fixed set of strings.
Result<std::string, ApiError> read_choice(const Value& value, std::span<const std::string_view> allowed,
                                          std::string path);
Result<int32_t, ApiError> read_token_id(const Value& value, int32_t vocab_size, std::string path);
Result<std::vector<int32_t>, ApiError> read_token_ids(const Value& value, int32_t vocab_size,
                                                      std::string path);
Result<const ValueObject*, ApiError> read_object(const Value& value, std::string path);
Result<const ValueArray*, ApiError> read_array(const Value& value, std::string path);
const Value* find_present(const Value& object, std::string_view key);  // nullptr when absent or null
bool is_function_name(std::string_view name);                          // [A-Za-z0-9_-]{1,64}; of schemas too
// value.function.name, of a tool or of a call; both must be there. value: an object.
Result<std::string, ApiError> read_function_name(const Value& value, std::string_view path);

// ---- tables

template <class T>
struct Field {
  std::string_view name;
  std::function<Problem(const Value&, T&, const ParseContext&)> apply;  // the value is not null
  std::string schema = "{}";  // JSON Schema of the value, as text; null is always allowed besides
};

std::string integer_schema(int64_t min, int64_t max);  // bounds at the type's own limits are left out
std::string number_schema(double min, double max);
std::string choice_schema(std::span<const std::string_view> allowed);
inline constexpr char kBoolSchema[] = R"({"type":"boolean"})";
inline constexpr char kStringSchema[] = R"({"type":"string"})";
inline constexpr char kObjectSchema[] = R"({"type":"object"})";
inline constexpr char kTokenIdsSchema[] = R"({"type":"array","items":{"type":"integer","minimum":0}})";
inline constexpr char kStringsSchema[] = R"({"type":"array","items":{"type":"string"}})";

// The member may be a plain number or an optional one.
template <class T, class M>
Field<T> integer_field(std::string_view name, int64_t min, int64_t max, M T::*member) {
  return {name,
          [=](const Value& value, T& request, const ParseContext&) -> Problem {
            auto read = read_integer(value, min, max, std::string(name));
            if (!read) return read.error();
            if constexpr (std::is_arithmetic_v<M>) {
              request.*member = static_cast<M>(read.value());
            } else {
              request.*member = static_cast<typename M::value_type>(read.value());
            }
            return std::nullopt;
          },
          integer_schema(min, max)};
}

template <class T, class M>
Field<T> number_field(std::string_view name, double min, double max, M T::*member) {
  return {name,
          [=](const Value& value, T& request, const ParseContext&) -> Problem {
            auto read = read_number(value, min, max, std::string(name));
            if (!read) return read.error();
            request.*member = static_cast<float>(read.value());
            return std::nullopt;
          },
          number_schema(min, max)};
}

template <class T, class M>
Field<T> bool_field(std::string_view name, M T::*member) {
  return {name,
          [=](const Value& value, T& request, const ParseContext&) -> Problem {
            auto read = read_bool(value, std::string(name));
            if (!read) return read.error();
            request.*member = read.value();
            return std::nullopt;
          },
          kBoolSchema};
}

template <class T>
Field<T> string_field(std::string_view name, std::string T::*member) {
  return {name,
          [=](const Value& value, T& request, const ParseContext&) -> Problem {
            auto read = read_string(value, std::string(name));
            if (!read) return read.error();
            request.*member = std::move(read).value();
            return std::nullopt;
          },
          kStringSchema};
}

// Accepted because it doesn't change the answer; still must be well typed. `read` is one of the readers
// above.
template <class T, class Reader>
Field<T> checked_field(std::string_view name, std::string schema, Reader read) {
  return {name,
          [=](const Value& value, T&, const ParseContext&) -> Problem {
            auto result = read(value, std::string(name));
            return result ? Problem{} : Problem{result.error()};
          },
          std::move(schema)};
}

// Would change the answer and isn't implemented: any value but null is refused.
template <class T>
Field<T> unsupported_field(std::string_view name, std::string_view why = "not supported by this server") {
  return {name, [=](const Value&, T&, const ParseContext&) -> Problem {
            return unsupported(std::string(name), why);
          }};
}

// The same for a number that has a value at which it does nothing: that value is fine.
template <class T>
Field<T> neutral_field(std::string_view name, double neutral) {
  return {name,
          [=](const Value& value, T&, const ParseContext&) -> Problem {
            constexpr double kAny = std::numeric_limits<double>::max();
            auto read = read_number(value, -kAny, kAny, std::string(name));
            if (!read) return read.error();
            if (read.value() != neutral)
              return unsupported(std::string(name), "not supported by this server");
            return std::nullopt;
          },
          R"({"type":"number"})"};
}

// Applies each row whose key is present; rows later in the table win. The first problem ends it.
template <class T>
Problem apply_fields(std::span<const Field<T>> table, const Value& object, T& request,
                     const ParseContext& context) {
  for (const Field<T>& field : table) {
    const Value* value = find_present(object, field.name);
    if (value == nullptr) continue;
    if (Problem problem = field.apply(*value, request, context)) return problem;
  }
  return std::nullopt;
}

template <class T>
bool has_field(std::span<const Field<T>> table, std::string_view name) {
  for (const Field<T>& field : table)
    if (field.name == name) return true;
  return false;
}

}  // namespace qwend
