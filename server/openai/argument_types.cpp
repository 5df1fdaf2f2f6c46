#include "server/openai/argument_types.h"

#include <cmath>

#include "server/json/json_reader.h"
#include "server/json/json_writer.h"
#include "server/openai/text_scan.h"

namespace qwend {
namespace {

constexpr int kMaxSchemaDepth = 16;
constexpr ArgumentTypes kAll{true, true, true, true, true, true, true};

void add(ArgumentTypes& types, const ArgumentTypes& more) {
  types.string |= more.string, types.integer |= more.integer, types.number |= more.number;
  types.boolean |= more.boolean, types.null |= more.null;
  types.object |= more.object, types.array |= more.array;
}

ArgumentTypes named_type(std::string_view name) {
  return {.string = name == "string",
          .integer = name == "integer",
          .number = name == "number",
          .boolean = name == "boolean",
          .null = name == "null",
          .object = name == "object",
          .array = name == "array"};
}

ArgumentTypes type_of_value(const Value& value) {
  static constexpr std::string_view kNames[] = {"null",   "boolean", "integer", "integer",
                                                "number", "string",  "array",   "object"};
  return named_type(kNames[value.data.index()]);
}

ArgumentTypes types_of(const Value& schema, int depth) {
  ArgumentTypes types;
  if (depth > kMaxSchemaDepth) return kAll;
  const auto each = [&](std::string_view key, auto visit) {
    const Value* member = schema.find(key);
    const auto* list = member == nullptr ? nullptr : std::get_if<ValueArray>(&member->data);
    if (list == nullptr) return;
    for (const Value& entry : *list) visit(entry);
  };
  if (const Value* type = schema.find("type")) {
    if (const auto* name = std::get_if<std::string>(&type->data)) add(types, named_type(*name));
  }
  each("type", [&](const Value& entry) {
    if (const auto* name = std::get_if<std::string>(&entry.data)) add(types, named_type(*name));
  });
  if (types == ArgumentTypes{}) {
    each("enum", [&](const Value& entry) { add(types, type_of_value(entry)); });
    if (const Value* constant = schema.find("const")) add(types, type_of_value(*constant));
    for (const std::string_view key : {"anyOf", "oneOf", "allOf"})
      each(key, [&](const Value& entry) { add(types, types_of(entry, depth + 1)); });
  }
  const Value* nullable = schema.find("nullable");
  if (nullable != nullptr && *nullable == Value{true}) types.null = true;
  const bool says_nothing = types == ArgumentTypes{} || types == ArgumentTypes{.null = true};
  return says_nothing && schema.find("type") == nullptr ? kAll : types;
}

bool allowed(const Value& value, const ArgumentTypes& types) {
  const ArgumentTypes own = type_of_value(value);
  const auto* real = std::get_if<double>(&value.data);
  if (real != nullptr) return types.number || (types.integer && std::trunc(*real) == *real);
  return (own.integer && (types.integer || types.number)) || (own.boolean && types.boolean) ||
         (own.null && types.null) || (own.object && types.object) || (own.array && types.array);
}

}  // namespace

ArgumentTypes types_of_schema(const Value& schema) { return types_of(schema, 0); }

ArgumentTypes types_of_parameter(const Value& tool, std::string_view parameter) {
  const Value* at = &tool;
  for (const std::string_view key : {std::string_view("function"), std::string_view("parameters"),
                                     std::string_view("properties"), parameter}) {
    at = at->find(key);
    if (at == nullptr) return {.string = true};
  }
  return types_of_schema(*at);
}

std::string argument_json(std::string_view text, const ArgumentTypes& types) {
  const size_t begin = std::min(text.find_first_not_of(kJsonSpace), text.size());
  const std::string_view bare = trim_right(text.substr(begin), kJsonSpace);
  if (types.null && bare == "None") return "null";
  if (types.boolean && bare == "True") return "true";
  if (types.boolean && bare == "False") return "false";
  const auto parsed = json::parse(bare);
  if (parsed && allowed(parsed.value(), types)) return std::string(bare);
  std::string out;
  json::append_string(out, text);
  return out;
}

}  // namespace qwend
