// tools and tool_choice: what the model may call, and whether it must.
#pragma once
#include <string>
#include <vector>

#include "server/openai/fields.h"

namespace qwend {

inline constexpr size_t kMaxTools = 128;

enum class ToolMode {
  None,  // no tools, or hidden from the model: output is not searched for calls
  Auto,
  Required,  // the answer starts with a call
  Named,     // … of this function
};

struct ToolSettings {
  std::vector<Value>
      tools;  // as the client sent them, less those that tool_choice hides: what the template prints
  ToolMode mode = ToolMode::None;
  std::string forced_name;  // with Named
  bool forces_call() const { return mode == ToolMode::Required || mode == ToolMode::Named; }
};

// What a forced call may call: `forced_name` alone, or all tools.
std::vector<Value> callable_tools(const ToolSettings& settings);

// The name of an entry of ToolSettings::tools.
const std::string& name_of_tool(const Value& tool);

// Either may be nullptr (absent). Names must be unique and match [A-Za-z0-9_-]{1,64}; parameters must be an
// object.
Result<ToolSettings, ApiError> parse_tools(const Value* tools, const Value* tool_choice);

// The entry of ToolSettings::tools with this name; nullptr: none.
const Value* find_tool(const std::vector<Value>& tools, std::string_view name);

}  // namespace qwend
