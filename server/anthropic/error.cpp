#include "server/anthropic/error.h"

#include "server/json/json_writer.h"

namespace qwend {
namespace {

const char* type_of(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

}  // namespace

std::string message_error_json(const ApiError& error) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().member("type", "error").key("error").begin_object();
  writer.member("type", type_of(error.status)).member("message", error.message).end_object().end_object();
  return out;
}

std::string error_json_for(std::string_view path, const ApiError& error) {
  constexpr std::string_view kMessages = "/v1/messages";
  const bool below =
      path.starts_with(kMessages) && (path.size() == kMessages.size() || path[kMessages.size()] == '/');
  return below ? message_error_json(error) : error.to_json();
}

}  // namespace qwend
