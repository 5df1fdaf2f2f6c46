// Parses a request's head (RFC 9112 sections 2 to 6): strict grammar, bounded sizes, framing decided here and
// nowhere else.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/error.h"
#include "server/http/http_server.h"

namespace qwend::http {

struct Head {
  Request request;        // method, path, query, headers; the rest is still empty
  int minor_version = 1;  // HTTP/1.x: 0 or 1
  bool keep_alive = true;
  bool chunked = false;
  std::optional<uint64_t> content_length;
  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

// Looks at a buffer that grows until the head in it is complete. What is wrong is found at the line where it
// is wrong, not at the end, so garbage is answered at once. Not thread-safe.
class HeadParser {
 public:
  enum class State { NeedMore, Done, Failed };

  explicit HeadParser(const Limits& limits) : limits_(limits) {}
  // `buffer` starts at the head's first byte and only grows between calls. Done and Failed are final until
  // reset().
  State advance(std::string_view buffer);
  size_t size() const { return line_start_; }        // bytes of the head, once Done
  Head take() { return std::move(head_); }           // once Done
  const Head& head() const { return head_; }         // what has been understood so far
  const HttpError& error() const { return error_; }  // once Failed
  void reset();

 private:
  bool parse_request_line(std::string_view line);
  bool parse_target(std::string_view target);
  bool parse_field(std::string_view line);
  bool check_partial_line(std::string_view line);
  bool finish();
  bool finish_framing();
  bool fail(int status, std::string message);

  const Limits& limits_;
  size_t line_start_ = 0;  // first byte not yet consumed
  size_t scanned_ = 0;     // no line end before this byte
  bool seen_request_line_ = false, skipped_empty_line_ = false;
  State state_ = State::NeedMore;
  Head head_;
  HttpError error_;
};

// "%2F" -> "/". Nothing when an escape is malformed or yields a control character.
std::optional<std::string> percent_decode(std::string_view text);
// RFC 9110 "token" characters.
bool is_token(std::string_view text);
bool equals_ignoring_case(std::string_view a, std::string_view b);

}  // namespace qwend::http
