// What the output has to look like: response_format, guided_*, structured_outputs, json_schema, grammar.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "server/openai/fields.h"

namespace qwend {

// One constraint, as the client named it.
struct StructuredOutput {
  struct AnyJson {};  // any JSON object
  struct JsonSchema {
    Value schema;         // an object or a boolean
    std::string name;     // of response_format
    bool strict = false;  // likewise
  };
  struct Regex {
    std::string pattern;
  };
  struct Choice {
    std::vector<std::string> options;  // not empty, no two equal
  };
  struct Grammar {
    std::string text;
  };
  std::string param;  // the parameter that asks for it
  std::variant<AnyJson, JsonSchema, Regex, Choice, Grammar> what;
};

// Readers of the parameters' values; nothing where none is asked for ({"type": "text"}).
using ParsedOutput = Result<std::optional<StructuredOutput>, ApiError>;
ParsedOutput read_response_format(const Value& value);
ParsedOutput read_structured_outputs(const Value& value);
// guided_json, guided_regex, guided_choice, guided_grammar; json_schema and grammar are llama-server's names.
ParsedOutput read_json_schema(const Value& value, const std::string& param);
ParsedOutput read_regex(const Value& value, const std::string& param);
ParsedOutput read_choice_list(const Value& value, const std::string& param);
ParsedOutput read_grammar(const Value& value, const std::string& param);

}  // namespace qwend
