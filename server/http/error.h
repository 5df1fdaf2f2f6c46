// Errors that arise in the transport, before or instead of a handler.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwend::http {

// One failed request. `message` is for the client: it names what was wrong and what is allowed.
struct HttpError {
  int status = 400;
  std::string code;  // e.g. invalid_http, unknown_url
  std::string message;
  std::vector<std::pair<std::string, std::string>> headers = {};  // Allow, Retry-After, WWW-Authenticate
};

// The body in the shape that the path's clients expect (server/anthropic/error.h), usually
// {"error":{"message","type","param","code"}}; type follows from the status. Bytes that are not UTF-8 are
// replaced.
std::string error_json(const HttpError& error, std::string_view path);

// "Not Found"; "Unknown" for a status that this server never sends.
std::string_view status_text(int status);

}  // namespace qwend::http
