// The one error shape of the API.
#pragma once
#include <string>

namespace qwend {

// {"error":{"message","type","param","code"}}: all four keys, param and code null when empty.
struct ApiError {
  int status = 400;
  std::string type = "invalid_request_error";
  std::string message;
  std::string param;    // path, e.g. messages[0].content[1]; empty: null
  std::string code;     // e.g. context_length_exceeded; empty: null
  int retry_after = 0;  // seconds; > 0 adds the header
  std::string to_json() const;
};

}  // namespace qwend
