#include "server/responses/response_request.h"

#include <limits>

#include "server/json/json_writer.h"
#include "server/responses/response_input.h"

namespace qwend {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
constexpr std::string_view kTruncations[] = {"auto", "disabled"};

// A member of an object as a string of a fixed set.
Problem read_member(const Value& object, std::string_view name, std::span<const std::string_view> allowed,
                    std::string_view path, std::string& target) {
  const Value* value = find_present(object, name);
  if (value == nullptr) return std::nullopt;
  auto text = read_choice(*value, allowed, at(path, name));
  if (!text) return text.error();
  target = std::move(text).value();
  return std::nullopt;
}

Problem apply_reasoning(const Value& value, ResponseFields& fields, const ParseContext&) {
  if (auto object = read_object(value, "reasoning"); !object) return object.error();
  static constexpr std::string_view kSummaries[] = {"auto", "concise", "detailed"};
  std::string summary;  // no summaries are made: the reasoning itself is shown
  if (Problem problem = read_member(value, "summary", kSummaries, "reasoning", summary)) return problem;
  fields.reasoning = &value;
  return read_member(value, "effort", kEfforts, "reasoning", fields.effort);
}

Problem apply_text(const Value& value, ResponseFields& fields, const ParseContext&) {
  if (auto object = read_object(value, "text"); !object) return object.error();
  static constexpr std::string_view kLevels[] = {"low", "medium", "high"};
  if (Problem problem = read_member(value, "verbosity", kLevels, "text", fields.verbosity)) return problem;
  fields.text = &value;
  fields.format = find_present(value, "format");
  if (fields.format == nullptr) return std::nullopt;
  auto object = read_object(*fields.format, "text.format");
  return object ? Problem{} : Problem{object.error()};
}

Problem apply_include(const Value& value, ResponseFields& fields, const ParseContext&) {
  auto list = read_array(value, "include");
  if (!list) return list.error();
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto what = read_string((*list.value())[i], at("include", i));
    if (!what) return what.error();
    if (what.value() == "message.output_text.logprobs") fields.logprobs = true;
  }
  return std::nullopt;
}

Problem apply_truncation(const Value& value, ResponseFields& fields, const ParseContext&) {
  auto mode = read_choice(value, kTruncations, "truncation");
  if (!mode) return mode.error();
  fields.truncation = std::move(mode).value();
  return std::nullopt;
}

Problem apply_metadata(const Value& value, ResponseFields& fields, const ParseContext&) {
  if (auto object = read_object(value, "metadata"); !object) return object.error();
  fields.metadata = &value;
  return std::nullopt;
}

Problem apply_background(const Value& value, ResponseFields&, const ParseContext&) {
  auto flag = read_bool(value, "background");
  if (!flag) return flag.error();
  return flag.value() ? Problem{unsupported("background", "answers are made while the client waits")}
                      : std::nullopt;
}

Problem read_elsewhere(const Value&, ResponseFields&, const ParseContext&) { return std::nullopt; }

// ---- from this dialect's shapes to chat's

// {"type":"function","name",…} -> {"type":"function","function":{"name",…}}
Value nested_function(const Value& flat) {
  ValueObject function;
  for (const auto& [key, value] : std::get<ValueObject>(flat.data))
    if (key != "type") function.emplace_back(key, value);
  return Value{ValueObject{{"type", *flat.find("type")}, {"function", Value{std::move(function)}}}};
}

bool is_typed(const Value& value, std::string_view type) {
  const Value* given = value.find("type");
  return given != nullptr && *given == Value{std::string(type)};
}

// Entries of other types stay as they are: chat's parser says what is wrong with them.
Result<Value, ApiError> nested_tools(const Value& tools, const std::string& path) {
  auto list = read_array(tools, path);
  if (!list) return list.error();
  ValueArray nested;
  for (size_t i = 0; i < list.value()->size(); ++i) {
    const Value& tool = (*list.value())[i];
    const Value* type = tool.find("type");
    const auto* name = type == nullptr ? nullptr : std::get_if<std::string>(&type->data);
    if (name != nullptr && *name != "function")
      return unsupported(at(at(path, i), "type"),
                         "tools of type '" + *name + "' are not supported by this server");
    nested.push_back(is_typed(tool, "function") ? nested_function(tool) : tool);
  }
  return Value{std::move(nested)};
}

Result<Value, ApiError> nested_choice(const Value& choice) {
  if (is_typed(choice, "function")) return nested_function(choice);
  if (!is_typed(choice, "allowed_tools")) return choice;
  ValueObject allowed;
  for (const auto& [key, value] : std::get<ValueObject>(choice.data)) {
    if (key == "type") continue;
    if (key != "tools") {
      allowed.emplace_back(key, value);
      continue;
    }
    auto tools = nested_tools(value, "tool_choice.tools");
    if (!tools) return tools.error();
    allowed.emplace_back(key, std::move(tools).value());
  }
  return Value{ValueObject{{"type", *choice.find("type")}, {"allowed_tools", Value{std::move(allowed)}}}};
}

// {"type":"json_schema","name","schema",…} -> {"type":"json_schema","json_schema":{"name","schema",…}}
Value nested_format(const Value& format) {
  if (!is_typed(format, "json_schema")) return format;
  ValueObject schema;
  for (const auto& [key, value] : std::get<ValueObject>(format.data))
    if (key != "type") schema.emplace_back(key, value);
  return Value{ValueObject{{"type", *format.find("type")}, {"json_schema", Value{std::move(schema)}}}};
}

// The body that asks chat for the same, less the messages.
Result<Value, ApiError> chat_body(const Value& body, const ResponseFields& fields) {
  ValueObject chat;
  for (const auto& [key, value] : std::get<ValueObject>(body.data))
    if (!has_field(response_fields(), key)) chat.emplace_back(key, value);
  if (const Value* tools = find_present(body, "tools")) {
    auto nested = nested_tools(*tools, "tools");
    if (!nested) return nested.error();
    chat.emplace_back("tools", std::move(nested).value());
  }
  if (const Value* choice = find_present(body, "tool_choice")) {
    auto nested = nested_choice(*choice);
    if (!nested) return nested.error();
    chat.emplace_back("tool_choice", std::move(nested).value());
  }
  if (fields.format != nullptr) chat.emplace_back("response_format", nested_format(*fields.format));
  if (!fields.effort.empty()) chat.emplace_back("reasoning_effort", Value{fields.effort});
  if (!fields.verbosity.empty()) chat.emplace_back("verbosity", Value{fields.verbosity});
  if (fields.max_output_tokens) chat.emplace_back("max_tokens", Value{int64_t{*fields.max_output_tokens}});
  chat.emplace_back("parallel_tool_calls", Value{fields.parallel_tool_calls});
  chat.emplace_back("logprobs", Value{fields.logprobs});
  if (fields.logprobs) chat.emplace_back("top_logprobs", Value{int64_t{fields.top_logprobs.value_or(0)}});
  return Value{std::move(chat)};
}

constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"response_format.json_schema", "text.format"},
    {"response_format", "text.format"},
    {"tool_choice.allowed_tools.tools", "tool_choice.tools"},
    {"tool_choice.allowed_tools.mode", "tool_choice.mode"},
    {".function", ""},
    {"reasoning_effort", "reasoning.effort"},
    {"messages", "input"},
};

// ---- what the answer repeats

void write_tool(json::JsonWriter& writer, const Value& tool) {
  writer.begin_object();
  for (const auto& [key, value] : std::get<ValueObject>(tool.data)) writer.member(key, value);
  for (const std::string_view key : {"parameters", "strict"})
    if (tool.find(key) == nullptr) writer.key(key).null();
  writer.end_object();
}

// Without the braces around the members.
std::string echo(const Value& body, const ResponseFields& fields) {
  std::string out;
  json::JsonWriter writer(out);
  const auto value_or = [&](std::string_view name, const Value* value, std::string_view otherwise) {
    value != nullptr ? writer.member(name, *value) : writer.key(name).raw(otherwise);
  };
  const auto optional = [&](std::string_view name, const std::optional<int32_t>& value) {
    value ? writer.member(name, *value) : writer.key(name).null();
  };
  value_or("instructions", find_present(body, "instructions"), "null");
  value_or("metadata", fields.metadata, "{}");
  value_or("previous_response_id", find_present(body, "previous_response_id"), "null");
  value_or("reasoning", fields.reasoning, R"({"effort":null,"summary":null})");
  value_or("text", fields.text, R"({"format":{"type":"text"}})");
  value_or("tool_choice", find_present(body, "tool_choice"), R"("auto")");
  writer.key("tools").begin_array();
  if (const Value* tools = find_present(body, "tools"))
    for (const Value& tool : std::get<ValueArray>(tools->data)) write_tool(writer, tool);
  writer.end_array();
  optional("max_output_tokens", fields.max_output_tokens);
  optional("max_tool_calls", fields.max_tool_calls);
  optional("top_logprobs", fields.top_logprobs);
  writer.member("parallel_tool_calls", fields.parallel_tool_calls)
      .member("store", fields.store)
      .member("truncation", fields.truncation)
      .member("background", false)
      .member("service_tier", "default");
  return out;
}

}  // namespace

std::span<const Field<ResponseFields>> response_fields() {
  using F = ResponseFields;
  static const std::vector<Field<F>> table = {
      {"input", read_elsewhere,
       R"({"oneOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"object"}}]})"},
      {"tools", read_elsewhere, R"({"type":"array","items":{"type":"object"}})"},
      {"tool_choice", read_elsewhere,
       R"({"oneOf":[{"type":"string","enum":["none","auto","required"]},{"type":"object"}]})"},
      string_field<F>("instructions", &F::instructions),
      string_field<F>("previous_response_id", &F::previous_response_id),
      bool_field("store", &F::store),
      integer_field("max_output_tokens", 1, kInt32Max, &F::max_output_tokens),
      integer_field("top_logprobs", 0, 20, &F::top_logprobs),
      bool_field("parallel_tool_calls", &F::parallel_tool_calls),
      {"reasoning", apply_reasoning,
       R"({"type":"object","properties":{"effort":)" + choice_schema(kEfforts) + "}}"},
      {"text", apply_text, kObjectSchema},
      {"include", apply_include, kStringsSchema},
      {"truncation", apply_truncation, choice_schema(kTruncations)},
      {"metadata", apply_metadata, kObjectSchema},
      {"background", apply_background, R"({"type":"boolean","enum":[false]})"},
      integer_field("max_tool_calls", 1, kInt32Max, &F::max_tool_calls),  // of tools that run here: none do
      neutral_field<F>("n", 1),
      unsupported_field<F>("conversation"),
      unsupported_field<F>("prompt", "prompt templates are not stored by this server"),
      unsupported_field<F>("context_management"),
      unsupported_field<F>("moderation"),
  };
  return table;
}

Result<ResponseRequest, ApiError> parse_response_request(const Value& body, const ParseContext& context) {
  ResponseFields fields;
  if (Problem problem = apply_fields(response_fields(), body, fields, context)) return *problem;
  std::vector<ChatMessage> messages;
  if (const Value* input = find_present(body, "input")) {
    auto parsed = parse_response_input(*input);
    if (!parsed) return parsed.error();
    messages = std::move(parsed).value();
  } else if (fields.previous_response_id.empty()) {
    return missing_parameter("input");
  }
  auto translated = chat_body(body, fields);
  if (!translated) return translated.error();
  auto chat = parse_chat_request(translated.value(), std::move(messages), context);
  if (!chat) return renamed(chat.error(), kNames);

  ResponseRequest request;
  request.chat = std::move(chat).value();
  request.echo = echo(body, fields);
  request.instructions = std::move(fields.instructions);
  request.previous_response_id = std::move(fields.previous_response_id);
  request.store = fields.store;
  request.drop_oldest = fields.truncation == "auto";
  return request;
}

}  // namespace qwend
