// What a tool's JSON Schema says about an argument, for calls that are written as plain text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/text/value.h"

namespace qwend {

// The JSON types that a value may have.
struct ArgumentTypes {
  bool string = false, integer = false, number = false, boolean = false, null = false, object = false,
       array = false;
  // Nothing but text: it can be passed on before its end is known.
  bool only_string() const { return string && !(integer || number || boolean || null || object || array); }
  bool operator==(const ArgumentTypes&) const = default;
};

// Of a schema: type, enum, const, anyOf, oneOf, allOf, nullable. A schema that says nothing allows all.
ArgumentTypes types_of_schema(const Value& schema);
// Of a parameter of a tool (an entry of ToolSettings::tools). One that the tool does not declare is a string.
ArgumentTypes types_of_parameter(const Value& tool, std::string_view parameter);

// The text as JSON: what it reads as where that is allowed (True, False and None as Python writes them,
// too), else a string.
std::string argument_json(std::string_view text, const ArgumentTypes& types);

}  // namespace qwend
