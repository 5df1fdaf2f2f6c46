// Errors in the shape of /v1/messages.
#pragma once
#include <string>
#include <string_view>

#include "server/openai/error.h"

namespace qwend {

// {"type":"error","error":{"type","message"}}; the inner type follows from the status.
std::string message_error_json(const ApiError& error);

// The body that a path's clients expect: the shape above below /v1/messages, else the API's own.
std::string error_json_for(std::string_view path, const ApiError& error);

}  // namespace qwend
