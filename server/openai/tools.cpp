#include "server/openai/tools.h"

#include <algorithm>
#include <set>

namespace qwend {
namespace {

// value.type must be "function"; value.function.name is returned.
Result<std::string, ApiError> function_name(const Value& value, const std::string& path) {
  if (auto object = read_object(value, path); !object) return object.error();
  const Value* type = find_present(value, "type");
  if (type == nullptr) return missing_parameter(at(path, "type"));
  auto kind = read_string(*type, at(path, "type"));
  if (!kind) return kind.error();
  if (kind.value() == "custom")
    return unsupported(at(path, "type"), "custom tools are not supported by this server");
  if (kind.value() != "function") return invalid_value(at(path, "type"), "must be 'function'");
  auto name = read_function_name(value, path);
  if (name && !is_function_name(name.value()))
    return invalid_value(at(path, "function.name"), "must be 1 to 64 letters, digits, '_' or '-'");
  return name;
}

Problem check_function(const Value& function, const std::string& path) {
  if (const Value* description = find_present(function, "description"))
    if (auto text = read_string(*description, at(path, "description")); !text) return text.error();
  if (const Value* parameters = find_present(function, "parameters"))
    if (auto object = read_object(*parameters, at(path, "parameters")); !object) return object.error();
  if (const Value* strict = find_present(function, "strict"))
    if (auto flag = read_bool(*strict, at(path, "strict")); !flag) return flag.error();
  return std::nullopt;
}

Problem add_tools(const Value& value, ToolSettings& settings) {
  auto list = read_array(value, "tools");
  if (!list) return list.error();
  if (list.value()->size() > kMaxTools)
    return invalid_value("tools", "must have at most " + std::to_string(kMaxTools) + " entries");
  std::set<std::string> names;
  for (size_t i = 0; i < list.value()->size(); ++i) {
    const Value& tool = (*list.value())[i];
    const std::string path = at("tools", i);
    auto name = function_name(tool, path);
    if (!name) return name.error();
    if (Problem problem = check_function(*tool.find("function"), at(path, "function"))) return problem;
    if (!names.insert(name.value()).second)
      return invalid_value(at(path, "function.name"), "is used by two tools: '" + name.value() + "'");
    settings.tools.push_back(tool);
  }
  if (!settings.tools.empty()) settings.mode = ToolMode::Auto;
  return std::nullopt;
}

Problem choose_mode(const Value& value, const std::string& path, ToolSettings& settings) {
  static constexpr std::string_view kModes[] = {"none", "auto", "required"};
  auto mode = read_choice(value, kModes, path);
  if (!mode) return mode.error();
  if (mode.value() == "required") {
    if (settings.tools.empty()) return invalid_value(path, "is 'required', but there are no tools");
    settings.mode = ToolMode::Required;
  } else if (mode.value() == "none") {
    settings.tools.clear();
    settings.mode = ToolMode::None;
  }
  return std::nullopt;
}

// Only these stay visible to the model.
Problem choose_allowed(const Value& choice, ToolSettings& settings) {
  const std::string path = "tool_choice.allowed_tools";
  const Value* allowed = find_present(choice, "allowed_tools");
  if (allowed == nullptr) return missing_parameter(path);
  if (auto object = read_object(*allowed, path); !object) return object.error();
  const Value* list = find_present(*allowed, "tools");
  if (list == nullptr) return missing_parameter(at(path, "tools"));
  auto entries = read_array(*list, at(path, "tools"));
  if (!entries) return entries.error();
  std::set<std::string> names;
  for (size_t i = 0; i < entries.value()->size(); ++i) {
    const std::string entry_path = at(at(path, "tools"), i);
    auto name = function_name((*entries.value())[i], entry_path);
    if (!name) return name.error();
    if (find_tool(settings.tools, name.value()) == nullptr)
      return invalid_value(entry_path, "names '" + name.value() + "', which is not in tools");
    names.insert(name.value());
  }
  std::erase_if(settings.tools, [&](const Value& tool) { return !names.contains(name_of_tool(tool)); });
  if (settings.tools.empty()) settings.mode = ToolMode::None;
  const Value* mode = find_present(*allowed, "mode");
  if (mode == nullptr) return missing_parameter(at(path, "mode"));
  return choose_mode(*mode, at(path, "mode"), settings);
}

Problem apply_choice(const Value& choice, ToolSettings& settings) {
  if (std::holds_alternative<std::string>(choice.data)) return choose_mode(choice, "tool_choice", settings);
  if (!std::holds_alternative<ValueObject>(choice.data))
    return invalid_type("tool_choice", "a string or an object", type_name(choice));
  const Value* type = find_present(choice, "type");
  if (type != nullptr && *type == Value{std::string("allowed_tools")})
    return choose_allowed(choice, settings);
  auto name = function_name(choice, "tool_choice");
  if (!name) return name.error();
  if (find_tool(settings.tools, name.value()) == nullptr)
    return invalid_value("tool_choice", "names '" + name.value() + "', which is not in tools");
  settings.mode = ToolMode::Named;
  settings.forced_name = std::move(name).value();
  return std::nullopt;
}

}  // namespace

const std::string& name_of_tool(const Value& tool) {
  return std::get<std::string>(tool.find("function")->find("name")->data);
}

std::vector<Value> callable_tools(const ToolSettings& settings) {
  if (settings.mode != ToolMode::Named) return settings.tools;
  return {*find_tool(settings.tools, settings.forced_name)};
}

const Value* find_tool(const std::vector<Value>& tools, std::string_view name) {
  const auto found = std::ranges::find_if(tools, [&](const Value& t) { return name_of_tool(t) == name; });
  return found == tools.end() ? nullptr : &*found;
}

Result<ToolSettings, ApiError> parse_tools(const Value* tools, const Value* tool_choice) {
  ToolSettings settings;
  if (tools != nullptr)
    if (Problem problem = add_tools(*tools, settings)) return *problem;
  if (tool_choice != nullptr)
    if (Problem problem = apply_choice(*tool_choice, settings)) return *problem;
  return settings;
}

}  // namespace qwend
