// All endpoints, as one table: what is routed, and what /openapi.json and the page at / tell of it.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/app.h"
#include "server/json/json_writer.h"

namespace qwend {

using Endpoint = void (*)(App&, const http::Request&, http::Responder&);

// One parameter of a body, as its table describes it.
struct ParameterSchema {
  std::string_view name;
  std::string schema;  // JSON Schema as text; null is always allowed besides. Empty: only null is
};

struct RequestSchema {
  std::string_view name;  // of the component, e.g. "ChatRequest"
  std::vector<ParameterSchema> parameters;
  std::vector<std::string_view> required;
};

struct Route {
  const char* method;
  const char* path;  // {name} is a parameter
  Endpoint handle;
  const char* summary;
  const RequestSchema& (*body)() = nullptr;  // nullptr: no JSON body
  bool open = false;                         // needs no key, and is answered from the reserved lane
};

std::span<const Route> routes();

// Beside the table: its handler needs the server.
inline constexpr char kMetricsPath[] = "/metrics";

}  // namespace qwend
