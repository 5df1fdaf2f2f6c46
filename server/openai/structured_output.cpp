#include "server/openai/structured_output.h"

#include <algorithm>
#include <set>

#include "server/json/json_reader.h"

namespace qwend {
namespace {

constexpr size_t kMaxOptions = 1024;

StructuredOutput asks(const std::string& param, auto what) { return {param, std::move(what)}; }

bool is_schema(const Value& value) {
  return std::holds_alternative<ValueObject>(value.data) || std::holds_alternative<bool>(value.data);
}

Result<std::string, ApiError> read_pattern(const Value& value, const std::string& param) {
  auto text = read_string(value, param);
  if (text && text.value().empty()) return invalid_value(param, "must not be empty");
  return text;
}

// {"name", "description"?, "schema"?, "strict"?}
ParsedOutput read_named_schema(const Value& format, const std::string& param) {
  const std::string path = at(param, "json_schema");
  const Value* object = find_present(format, "json_schema");
  if (object == nullptr) return missing_parameter(path);
  if (auto read = read_object(*object, path); !read) return read.error();
  StructuredOutput::JsonSchema wanted{Value{true}, {}, false};
  const Value* name = find_present(*object, "name");
  if (name == nullptr) return missing_parameter(at(path, "name"));
  auto text = read_string(*name, at(path, "name"));
  if (!text) return text.error();
  if (!is_function_name(text.value()))
    return invalid_value(at(path, "name"), "must be 1 to 64 letters, digits, '_' or '-'");
  wanted.name = std::move(text).value();
  if (const Value* description = find_present(*object, "description"))
    if (auto read = read_string(*description, at(path, "description")); !read) return read.error();
  if (const Value* strict = find_present(*object, "strict")) {
    auto flag = read_bool(*strict, at(path, "strict"));
    if (!flag) return flag.error();
    wanted.strict = flag.value();
  }
  if (const Value* schema = find_present(*object, "schema")) {
    if (auto read = read_object(*schema, at(path, "schema")); !read) return read.error();
    wanted.schema = *schema;
  }
  return std::optional(asks(param, std::move(wanted)));
}

}  // namespace

ParsedOutput read_response_format(const Value& value) {
  const std::string param = "response_format";
  if (auto object = read_object(value, param); !object) return object.error();
  const Value* type = find_present(value, "type");
  if (type == nullptr) return missing_parameter(at(param, "type"));
  static constexpr std::string_view kTypes[] = {"text", "json_object", "json_schema"};
  auto chosen = read_choice(*type, kTypes, at(param, "type"));
  if (!chosen) return chosen.error();
  if (chosen.value() == "text") return std::optional<StructuredOutput>();
  if (chosen.value() == "json_schema") return read_named_schema(value, param);
  // llama-server: json_object may come with a schema.
  if (const Value* schema = find_present(value, "schema")) {
    if (auto read = read_object(*schema, at(param, "schema")); !read) return read.error();
    return std::optional(asks(param, StructuredOutput::JsonSchema{*schema, {}, false}));
  }
  return std::optional(asks(param, StructuredOutput::AnyJson{}));
}

ParsedOutput read_json_schema(const Value& value, const std::string& param) {
  if (is_schema(value)) return std::optional(asks(param, StructuredOutput::JsonSchema{value, {}, false}));
  const auto* text = std::get_if<std::string>(&value.data);
  if (text == nullptr) return invalid_type(param, "a JSON Schema or its text", type_name(value));
  auto parsed = json::parse(*text);
  if (!parsed || !is_schema(parsed.value())) return invalid_value(param, "must be a JSON Schema");
  return std::optional(asks(param, StructuredOutput::JsonSchema{std::move(parsed).value(), {}, false}));
}

ParsedOutput read_regex(const Value& value, const std::string& param) {
  auto text = read_pattern(value, param);
  if (!text) return text.error();
  return std::optional(asks(param, StructuredOutput::Regex{std::move(text).value()}));
}

ParsedOutput read_grammar(const Value& value, const std::string& param) {
  auto text = read_pattern(value, param);
  if (!text) return text.error();
  return std::optional(asks(param, StructuredOutput::Grammar{std::move(text).value()}));
}

ParsedOutput read_choice_list(const Value& value, const std::string& param) {
  auto list = read_array(value, param);
  if (!list) return list.error();
  if (list.value()->empty() || list.value()->size() > kMaxOptions)
    return invalid_value(param, "must have 1 to " + std::to_string(kMaxOptions) + " entries");
  StructuredOutput::Choice choice;
  std::set<std::string> seen;
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto option = read_pattern((*list.value())[i], at(param, i));
    if (!option) return option.error();
    if (!seen.insert(option.value()).second) return invalid_value(at(param, i), "stands in the list twice");
    choice.options.push_back(std::move(option).value());
  }
  return std::optional(asks(param, std::move(choice)));
}

ParsedOutput read_structured_outputs(const Value& value) {
  const std::string param = "structured_outputs";
  auto object = read_object(value, param);
  if (!object) return object.error();
  std::optional<StructuredOutput> found;
  for (const auto& [key, member] : *object.value()) {
    if (is_null(member)) continue;
    const std::string path = at(param, key);
    ParsedOutput read = std::optional<StructuredOutput>();
    if (key == "json") {
      read = read_json_schema(member, path);
    } else if (key == "regex") {
      read = read_regex(member, path);
    } else if (key == "choice") {
      read = read_choice_list(member, path);
    } else if (key == "grammar") {
      read = read_grammar(member, path);
    } else if (key == "json_object") {
      auto flag = read_bool(member, path);
      if (!flag) return flag.error();
      if (flag.value()) read = std::optional(asks(path, StructuredOutput::AnyJson{}));
    } else if (key == "structural_tag") {
      return unsupported(path, "not supported by this server");
    } else if (key == "disable_any_whitespace" || key == "disable_additional_properties") {
      if (auto flag = read_bool(member, path); !flag) return flag.error();
    } else if (key == "whitespace_pattern") {
      if (auto text = read_string(member, path); !text) return text.error();
    } else {
      return invalid_value(path, "is not a kind of structured output");
    }
    if (!read) return read.error();
    if (!read.value()) continue;
    if (found) return invalid_value(param, "must ask for one kind only");
    found = std::move(read).value();
  }
  if (!found) return invalid_value(param, "must have one of json, regex, choice, grammar, json_object");
  return found;
}

}  // namespace qwend
