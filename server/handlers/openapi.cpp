// GET /openapi.json: the API as its tables describe it.
#include <algorithm>
#include <set>

#include "server/handlers/handlers.h"
#include "server/handlers/route_table.h"
#include "server/version.h"

namespace qwend {
namespace {

void write_schema(json::JsonWriter& writer, const RequestSchema& request) {
  writer.begin_object().member("type", "object").key("properties").begin_object();
  for (const auto& [name, schema] : request.parameters) {
    writer.key(name).begin_object();
    if (schema.empty()) {
      writer.member("type", "null").member("description", "not supported");
    } else {
      writer.key("anyOf").begin_array().raw(schema).begin_object().member("type", "null").end_object();
      writer.end_array();
    }
    writer.end_object();
  }
  writer.end_object();
  if (!request.required.empty()) {
    writer.key("required").begin_array();
    for (const std::string_view name : request.required) writer.value(name);
    writer.end_array();
  }
  writer.end_object();
}

void write_path_parameters(json::JsonWriter& writer, std::string_view path) {
  writer.key("parameters").begin_array();
  for (size_t begin = path.find('{'); begin != std::string_view::npos; begin = path.find('{', begin + 1)) {
    writer.begin_object()
        .member("name", path.substr(begin + 1, path.find('}', begin) - begin - 1))
        .member("in", "path")
        .member("required", true);
    writer.key("schema").begin_object().member("type", "string").end_object().end_object();
  }
  writer.end_array();
}

void write_operation(json::JsonWriter& writer, const Route& route) {
  std::string method = route.method;
  std::ranges::transform(method, method.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
  writer.key(method).begin_object().member("summary", route.summary);
  write_path_parameters(writer, route.path);
  if (route.body != nullptr) {
    writer.key("requestBody").begin_object().member("required", true).key("content").begin_object();
    writer.key("application/json").begin_object().key("schema").begin_object();
    writer.member("$ref", "#/components/schemas/" + std::string(route.body().name));
    writer.end_object().end_object().end_object().end_object();
  }
  if (route.open) writer.key("security").begin_array().end_array();
  writer.key("responses").begin_object();
  writer.key("200").begin_object().member("description", "The answer").end_object();
  writer.key("default").begin_object().member("description", "What went wrong").key("content").begin_object();
  writer.key("application/json").begin_object().key("schema").begin_object();
  writer.member("$ref", "#/components/schemas/Error");
  writer.end_object().end_object().end_object().end_object().end_object().end_object();
}

void write_paths(json::JsonWriter& writer) {
  writer.key("paths").begin_object();
  std::set<std::string_view> written;
  for (const Route& first : routes()) {
    if (!written.insert(first.path).second) continue;
    writer.key(first.path).begin_object();
    for (const Route& route : routes())
      if (std::string_view(route.path) == first.path) write_operation(writer, route);
    writer.end_object();
  }
  writer.end_object();
}

constexpr std::string_view kErrorSchema =
    R"({"type":"object","properties":{"error":{"type":"object","properties":{"message":{"type":"string"},)"
    R"("type":{"type":"string"},"param":{"type":["string","null"]},"code":{"type":["string","null"]}},)"
    R"("required":["message","type"]}},"required":["error"]})";
constexpr std::string_view kSecuritySchemes =
    R"({"bearer":{"type":"http","scheme":"bearer"},"key":{"type":"apiKey","in":"header","name":"x-api-key"}})";

void write_components(json::JsonWriter& writer) {
  writer.key("components").begin_object().key("schemas").begin_object();
  std::set<std::string_view> written;
  for (const Route& route : routes()) {
    if (route.body == nullptr || !written.insert(route.body().name).second) continue;
    write_schema(writer.key(route.body().name), route.body());
  }
  writer.key("Error").raw(kErrorSchema).end_object();
  writer.key("securitySchemes").raw(kSecuritySchemes).end_object();
}

std::string make_document() {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().member("openapi", "3.1.0").key("info").begin_object();
  writer.member("title", "qwend").member("version", kVersion).end_object();
  writer.key("security").raw(R"([{"bearer":[]},{"key":[]},{}])");
  write_paths(writer);
  write_components(writer);
  writer.end_object();
  return out;
}

}  // namespace

void handle_openapi(App&, const http::Request&, http::Responder& responder) {
  static const std::string document = make_document();
  reply_json(responder, document);
}

}  // namespace qwend
