#include "server/http/head.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace qwend::http {

namespace {

constexpr std::array<std::string_view, 9> kMethods = {"GET",   "HEAD",    "POST",  "PUT",    "DELETE",
                                                      "PATCH", "OPTIONS", "TRACE", "CONNECT"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_token_char(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// Calls visit(element) for each element of a comma-separated header value.
template <class Visit>
void for_each_element(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    visit(trim(list.substr(0, comma)));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
}

}  // namespace

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_char); }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3 || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0)
        return std::nullopt;
      c = static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    }
    if (is_control(c)) return std::nullopt;
    out.push_back(c);
  }
  return out;
}

void HeadParser::reset() {
  line_start_ = scanned_ = 0;
  seen_request_line_ = skipped_empty_line_ = false;
  state_ = State::NeedMore;
  head_ = Head();
  error_ = HttpError();
}

bool HeadParser::fail(int status, std::string message) {
  const char* code = status == 431 ? "head_too_large" : status == 414 ? "uri_too_long" : "invalid_http";
  error_ = {status, code, std::move(message)};
  return false;
}

HeadParser::State HeadParser::advance(std::string_view buffer) {
  while (state_ == State::NeedMore) {
    const size_t newline = buffer.find('\n', std::max(scanned_, line_start_));
    if (newline == std::string_view::npos) {
      scanned_ = buffer.size();
      if (!check_partial_line(buffer.substr(line_start_))) state_ = State::Failed;
      break;
    }
    std::string_view line = buffer.substr(line_start_, newline - line_start_);
    bool sound = check_partial_line(line);
    if (sound && (line.empty() || line.back() != '\r'))
      sound = fail(400, "A line of the head ends in a bare LF.");
    if (sound) {
      line.remove_suffix(1);
      line_start_ = newline + 1;
      if (!seen_request_line_ && line.empty() && !skipped_empty_line_) {
        skipped_empty_line_ = true;  // RFC 9112 2.2: one empty line ahead of the request line is ignored
      } else if (!seen_request_line_) {
        sound = parse_request_line(line);
        seen_request_line_ = true;
      } else if (line.empty()) {
        sound = finish();
        if (sound) state_ = State::Done;
      } else {
        sound = parse_field(line);
      }
    }
    if (!sound) state_ = State::Failed;
  }
  return state_;
}

// Sizes and characters that are wrong wherever the line will end. `line` may have its CR, never its LF.
bool HeadParser::check_partial_line(std::string_view line) {
  if (!seen_request_line_ && line.size() > limits_.max_request_line) {
    return fail(414,
                "The request line is longer than " + std::to_string(limits_.max_request_line) + " bytes.");
  }
  if (seen_request_line_ && line.size() > limits_.max_header_line) {
    return fail(431, "A header line is longer than " + std::to_string(limits_.max_header_line) + " bytes.");
  }
  if (line_start_ + line.size() > limits_.max_head) {
    return fail(431, "The head is larger than " + std::to_string(limits_.max_head) + " bytes.");
  }
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const bool last_cr = c == '\r' && i + 1 == line.size();
    const bool bad = seen_request_line_ ? is_control(c) && c != '\t' : is_control(c) || (c & 0x80) != 0;
    if (bad && !last_cr) return fail(400, "The head contains a character that HTTP does not allow there.");
  }
  return true;
}

bool HeadParser::parse_request_line(std::string_view line) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return fail(400, "The request line is malformed.");
  const std::string_view method = line.substr(0, first), version = line.substr(last + 1);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!is_token(method) || target.empty() || target.find(' ') != std::string_view::npos) {
    return fail(400, "The request line is malformed.");
  }
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return fail(400, "The request line is malformed.");
  }
  if (version[5] != '1') return fail(505, "Only HTTP/1.1 and HTTP/1.0 are served.");
  head_.minor_version = version[7] == '0' ? 0 : 1;
  if (std::ranges::find(kMethods, method) == kMethods.end())
    return fail(501, "The request's method is unknown.");
  head_.request.method = method;
  return parse_target(target);
}

bool HeadParser::parse_target(std::string_view target) {
  const std::string& method = head_.request.method;
  if (method == "CONNECT" || (method == "OPTIONS" && target == "*")) {
    head_.request.path = target;  // matches no route
    return true;
  }
  if (target.front() != '/') {  // absolute form, as sent to proxies: the authority plays no role here
    const size_t authority = target.find("://");
    if (authority == std::string_view::npos || !is_token(target.substr(0, authority))) {
      return fail(400, "The request target must start with a slash.");
    }
    target.remove_prefix(authority + 3);
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
  }
  if (target.find('#') != std::string_view::npos) return fail(400, "The request target contains a fragment.");
  const size_t question = target.find('?');
  const auto path = percent_decode(target.substr(0, question));
  if (!path) return fail(400, "The request target has a malformed or forbidden percent escape.");
  head_.request.path = path->empty() ? "/" : *path;
  if (question != std::string_view::npos) head_.request.query = target.substr(question + 1);
  return true;
}

bool HeadParser::parse_field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') return fail(400, "Folded header lines are not allowed.");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return fail(400, "A header line has no colon.");
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return fail(400, "A header name is malformed.");
  if (head_.request.headers.size() >= static_cast<size_t>(limits_.max_fields)) {
    return fail(431, "There are more than " + std::to_string(limits_.max_fields) + " header fields.");
  }
  std::string key(name);
  std::ranges::transform(key, key.begin(), lower);
  head_.request.headers.emplace_back(std::move(key), trim(line.substr(colon + 1)));
  return true;
}

bool HeadParser::finish() {
  int hosts = 0;
  head_.keep_alive = head_.minor_version >= 1;
  bool close = false;
  for (const auto& [name, value] : head_.request.headers) {
    if (name == "host") {
      ++hosts;
      if (value.find_first_of(" \t/?#@,") != std::string::npos)
        return fail(400, "The Host header is malformed.");
    } else if (name == "connection") {
      for_each_element(value, [&](std::string_view option) {
        if (equals_ignoring_case(option, "close")) close = true;
        if (equals_ignoring_case(option, "keep-alive")) head_.keep_alive = true;
      });
    }
  }
  if (close) head_.keep_alive = false;
  if (hosts > 1 || (hosts == 0 && head_.minor_version >= 1)) {
    return fail(400, "A request must have exactly one Host header.");
  }
  return finish_framing();
}

// Where the body ends must have one reading only, or a proxy and this server could disagree (request
// smuggling).
bool HeadParser::finish_framing() {
  int lengths = 0, encodings = 0;
  for (const auto& [name, value] : head_.request.headers) {
    if (name == "content-length") {
      ++lengths;
      uint64_t length = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (value.empty() || !is_digit(value.front()) || error != std::errc() ||
          end != value.data() + value.size()) {
        return fail(400, "Content-Length is not a number.");
      }
      head_.content_length = length;
    } else if (name == "transfer-encoding") {
      ++encodings;
      if (!equals_ignoring_case(value, "chunked")) {
        return fail(501, "The only Transfer-Encoding served is \"chunked\".");
      }
      head_.chunked = true;
    }
  }
  if (lengths + encodings > 1)
    return fail(400, "Content-Length and Transfer-Encoding must appear once, and not together.");
  if (head_.chunked && head_.minor_version == 0) return fail(400, "HTTP/1.0 has no Transfer-Encoding.");
  return true;
}

}  // namespace qwend::http
