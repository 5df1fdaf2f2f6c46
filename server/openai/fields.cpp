#include "server/openai/fields.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace qwend {
namespace {

std::string format(double number) {
  char buffer[64];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr};
}

ApiError out_of_range(std::string path, const std::string& min, const std::string& max) {
  return invalid_value(std::move(path), "must be between " + min + " and " + max);
}

}  // namespace

std::string integer_schema(int64_t min, int64_t max) {
  std::string schema = R"({"type":"integer")";
  if (min > std::numeric_limits<int32_t>::min()) schema += ",\"minimum\":" + std::to_string(min);
  if (max < std::numeric_limits<int32_t>::max()) schema += ",\"maximum\":" + std::to_string(max);
  return schema + "}";
}

std::string number_schema(double min, double max) {
  constexpr double kAny = std::numeric_limits<double>::max();
  std::string schema = R"({"type":"number")";
  if (min > -kAny) schema += ",\"minimum\":" + format(min);
  if (max < kAny) schema += ",\"maximum\":" + format(max);
  return schema + "}";
}

std::string choice_schema(std::span<const std::string_view> allowed) {
  std::string list;
  for (const std::string_view option : allowed)
    list.append(list.empty() ? "\"" : ",\"").append(option).append("\"");
  return R"({"type":"string","enum":[)" + list + "]}";
}

std::string_view type_name(const Value& value) {
  static constexpr std::string_view kNames[] = {"null",     "a boolean", "an integer", "an integer",
                                                "a number", "a string",  "an array",   "an object"};
  return kNames[value.data.index()];
}

bool is_null(const Value& value) { return std::holds_alternative<std::nullptr_t>(value.data); }

std::string at(std::string_view path, size_t index) {
  return std::string(path) + "[" + std::to_string(index) + "]";
}

std::string at(std::string_view path, std::string_view member) {
  return path.empty() ? std::string(member) : std::string(path) + "." + std::string(member);
}

const Value* find_present(const Value& object, std::string_view key) {
  const Value* value = object.find(key);
  return value == nullptr || is_null(*value) ? nullptr : value;
}

Result<int64_t, ApiError> read_integer(const Value& value, int64_t min, int64_t max, std::string path) {
  if (std::holds_alternative<uint64_t>(value.data))
    return out_of_range(path, std::to_string(min), std::to_string(max));
  const auto* number = std::get_if<int64_t>(&value.data);
  if (number == nullptr) return invalid_type(path, "an integer", type_name(value));
  if (*number < min || *number > max) return out_of_range(path, std::to_string(min), std::to_string(max));
  return *number;
}

Result<double, ApiError> read_number(const Value& value, double min, double max, std::string path) {
  double number = 0;
  if (const auto* real = std::get_if<double>(&value.data)) {
    number = *real;
  } else if (const auto* integer = std::get_if<int64_t>(&value.data)) {
    number = static_cast<double>(*integer);
  } else if (const auto* large = std::get_if<uint64_t>(&value.data)) {
    number = static_cast<double>(*large);
  } else {
    return invalid_type(path, "a number", type_name(value));
  }
  if (number < min || number > max) return out_of_range(path, format(min), format(max));
  return number;
}

Result<bool, ApiError> read_bool(const Value& value, std::string path) {
  if (const auto* flag = std::get_if<bool>(&value.data)) return *flag;
  return invalid_type(path, "a boolean", type_name(value));
}

Result<std::string, ApiError> read_string(const Value& value, std::string path) {
  if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
  return invalid_type(path, "a string", type_name(value));
}

Result<std::string, ApiError> read_choice(const Value& value, std::span<const std::string_view> allowed,
                                          std::string path) {
  auto text = read_string(value, path);
  if (!text) return text;
  if (std::find(allowed.begin(), allowed.end(), text.value()) != allowed.end()) return text;
  std::string list;
  for (const std::string_view option : allowed)
    list += (list.empty() ? "'" : ", '") + std::string(option) + "'";
  return invalid_value(path, "must be one of " + list);
}

Result<int32_t, ApiError> read_token_id(const Value& value, int32_t vocab_size, std::string path) {
  auto id = read_integer(value, 0, vocab_size - 1, path);
  if (id) return static_cast<int32_t>(id.value());
  return id.error().code == "invalid_value"
             ? invalid_value(path, "must be a token id between 0 and " + std::to_string(vocab_size - 1))
             : id.error();
}

Result<std::vector<int32_t>, ApiError> read_token_ids(const Value& value, int32_t vocab_size,
                                                      std::string path) {
  auto array = read_array(value, path);
  if (!array) return array.error();
  std::vector<int32_t> ids;
  ids.reserve(array.value()->size());
  for (size_t i = 0; i < array.value()->size(); ++i) {
    auto id = read_token_id((*array.value())[i], vocab_size, at(path, i));
    if (!id) return id.error();
    ids.push_back(id.value());
  }
  return ids;
}

Result<const ValueObject*, ApiError> read_object(const Value& value, std::string path) {
  if (const auto* object = std::get_if<ValueObject>(&value.data)) return object;
  return invalid_type(path, "an object", type_name(value));
}

Result<const ValueArray*, ApiError> read_array(const Value& value, std::string path) {
  if (const auto* array = std::get_if<ValueArray>(&value.data)) return array;
  return invalid_type(path, "an array", type_name(value));
}

bool is_function_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

Result<std::string, ApiError> read_function_name(const Value& value, std::string_view path) {
  const std::string function_path = at(path, "function");
  const Value* function = find_present(value, "function");
  if (function == nullptr) return missing_parameter(function_path);
  if (auto object = read_object(*function, function_path); !object) return object.error();
  const Value* name = find_present(*function, "name");
  if (name == nullptr) return missing_parameter(at(function_path, "name"));
  return read_string(*name, at(function_path, "name"));
}

}  // namespace qwend
