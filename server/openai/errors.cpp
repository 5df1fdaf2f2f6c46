#include "server/openai/errors.h"

namespace qwend {
namespace {

ApiError bad_request(std::string message, std::string param, std::string code) {
  return {.status = 400, .message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

ApiError server_error(int status, std::string message, std::string code, int retry_after) {
  return {.status = status,
          .type = "server_error",
          .message = std::move(message),
          .param = "",
          .code = std::move(code),
          .retry_after = retry_after};
}

bool ends_part(std::string_view path, size_t position) {
  return position >= path.size() || path[position] == '.' || path[position] == '[';
}

}  // namespace

ApiError invalid_json(std::string message) { return bad_request(std::move(message), "", "invalid_json"); }

ApiError missing_parameter(std::string param) {
  std::string message = "Missing required parameter: '" + param + "'.";
  return bad_request(std::move(message), std::move(param), "missing_required_parameter");
}

ApiError invalid_type(std::string param, std::string_view expected, std::string_view got) {
  std::string message = "Invalid type for '" + param + "': expected " + std::string(expected) + ", got " +
                        std::string(got) + ".";
  return bad_request(std::move(message), std::move(param), "invalid_type");
}

ApiError invalid_value(std::string param, std::string_view what) {
  std::string message = "'" + param + "' " + std::string(what) + ".";
  return bad_request(std::move(message), std::move(param), "invalid_value");
}

ApiError unsupported(std::string param, std::string_view what) {
  std::string message = "'" + param + "': " + std::string(what) + ".";
  return bad_request(std::move(message), std::move(param), "unsupported");
}

ApiError unknown_parameter(std::string param) {
  std::string message = "Unknown parameter: '" + param + "'.";
  return bad_request(std::move(message), std::move(param), "unknown_parameter");
}

ApiError model_not_found(std::string_view model) {
  return {.status = 404,
          .message = "The model '" + std::string(model) + "' does not exist.",
          .param = "model",
          .code = "model_not_found"};
}

ApiError context_length_exceeded(std::string_view param, int64_t prompt_tokens, int64_t max_model_len) {
  return bad_request("This model's maximum context length is " + std::to_string(max_model_len) +
                         " tokens, but the prompt has " + std::to_string(prompt_tokens) +
                         " tokens and needs room for at least one more.",
                     std::string(param), "context_length_exceeded");
}

ApiError renamed(ApiError error, ParamNames names) {
  for (const auto& [ours, theirs] : names) {
    const size_t begin = error.param.find(ours);
    if (begin == std::string::npos || !ends_part(error.param, begin + ours.size())) continue;
    std::string param = error.param;
    param.replace(begin, ours.size(), theirs);
    const std::string quoted = "'" + error.param + "'";
    if (const size_t named = error.message.find(quoted); named != std::string::npos)
      error.message.replace(named, quoted.size(), "'" + param + "'");
    error.param = std::move(param);
    break;
  }
  return error;
}

ApiError wrong_task(std::string_view what) {
  return bad_request("This server's model " + std::string(what) + ".", "model", "unsupported");
}

ApiError overloaded(std::string message) {
  return {.status = 429,
          .type = "rate_limit_error",
          .message = std::move(message),
          .param = "",
          .code = "overloaded",
          .retry_after = 1};
}

ApiError queue_timeout() {
  return server_error(503, "The request waited too long to start; the server is overloaded.", "overloaded",
                      1);
}

ApiError draining() {
  return server_error(503, "The server is shutting down and takes no new requests.", "draining", 1);
}

ApiError engine_failed(std::string message) {
  return server_error(500, "The engine failed: " + message, "engine_error", 0);
}

ApiError engine_dead() {
  return server_error(503, "The engine has failed and the server is waiting to be restarted.", "engine_dead",
                      5);
}

ApiError internal_error(std::string message) {
  return server_error(500, "Internal error: " + message, "internal_error", 0);
}

}  // namespace qwend
