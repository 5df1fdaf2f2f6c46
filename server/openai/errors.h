// The errors that a request can meet, by name: one place for their wording, status and code.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "server/openai/error.h"

namespace qwend {

using Problem = std::optional<ApiError>;  // what is wrong, if anything

ApiError invalid_json(std::string message);
ApiError missing_parameter(std::string param);
ApiError invalid_type(std::string param, std::string_view expected, std::string_view got);
ApiError invalid_value(std::string param, std::string_view what);  // message: "PARAM WHAT."
// Known, but this server can't do it and leaving it out would change the answer.
ApiError unsupported(std::string param, std::string_view what);
ApiError unknown_parameter(std::string param);
ApiError model_not_found(std::string_view model);
ApiError context_length_exceeded(std::string_view param, int64_t prompt_tokens, int64_t max_model_len);

// The error in the words of a dialect that calls a parameter by another name. names: (ours, the dialect's);
// whole parts of the path are replaced, by the first row that occurs in it.
using ParamNames = std::span<const std::pair<std::string_view, std::string_view>>;
ApiError renamed(ApiError error, ParamNames names);

// The model can't do what the endpoint is for; `what` says what it can.
ApiError wrong_task(std::string_view what);

ApiError overloaded(std::string message);      // 429: the queue is full
ApiError queue_timeout();                      // 503: waited too long to start
ApiError draining();                           // 503: shutting down
ApiError engine_failed(std::string message);   // 500: this request was in flight
ApiError engine_dead();                        // 503: nothing can be served until a restart
ApiError internal_error(std::string message);  // 500

}  // namespace qwend
