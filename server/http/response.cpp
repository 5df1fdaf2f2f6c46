#include "server/http/response.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "server/http/head.h"
#include "server/http/socket.h"

namespace qwend::http {

namespace {

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

// Handlers may put a client's words into a header; they must not become a second header.
void add_field(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ");
  for (char c : value) head.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c);
  head.append("\r\n");
}

bool has_field(const Headers& headers, std::string_view name) {
  return std::ranges::any_of(headers,
                             [&](const auto& field) { return equals_ignoring_case(field.first, name); });
}

}  // namespace

ResponseWriter::ResponseWriter(int fd, const ServerContext& context, ResponseShape shape)
    : fd_(fd), context_(context), shape_(std::move(shape)) {}

std::string ResponseWriter::make_head(int status, std::string_view content_type, const Headers& extra) {
  if (context_.draining.load()) close_after();
  std::string head;
  head.reserve(512);
  head.append("HTTP/1.1 ")
      .append(std::to_string(status))
      .append(" ")
      .append(status_text(status))
      .append("\r\n");
  add_field(head, "Date", http_date());
  if (!content_type.empty()) add_field(head, "Content-Type", content_type);
  add_field(head, "x-request-id", shape_.request_id);
  for (const auto& [name, value] : shape_.cors) add_field(head, name, value);
  for (const auto& [name, value] : extra) add_field(head, name, value);
  if (!shape_.keep_alive) {
    add_field(head, "Connection", "close");
  } else {
    // The hint lets clients drop an idle connection before the server does, rather than write into a closed
    // one.
    add_field(head, "Connection", "keep-alive");
    const auto seconds = std::chrono::floor<std::chrono::seconds>(context_.limits.keep_alive).count();
    add_field(head, "Keep-Alive", "timeout=" + std::to_string(seconds));
  }
  return head;
}

bool ResponseWriter::send(std::initializer_list<std::string_view> parts) {
  if (broken_) return false;
  if (send_all(fd_, parts, shape_.write_stall) != IoStatus::Ok) {
    broken_ = true;
    return false;
  }
  for (std::string_view part : parts) bytes_out_ += part.size();
  return true;
}

void ResponseWriter::reply(int status, std::string_view content_type, std::string body, Headers extra) {
  if (phase_ != Phase::Nothing) {
    spdlog::error("request {}: a second reply ({}) was dropped", shape_.request_id, status);
    return;
  }
  phase_ = Phase::Done;
  status_ = status;
  std::string head = make_head(status, content_type, extra);
  const bool no_content = status == 204 || status == 304;
  if (!no_content) add_field(head, "Content-Length", std::to_string(body.size()));
  head.append("\r\n");
  send({head, shape_.head_only || no_content ? std::string_view() : body});
}

void ResponseWriter::add_tokens(const TokenCounts& counts) {
  tokens_.prompt += counts.prompt;
  tokens_.cached += counts.cached;
  tokens_.completion += counts.completion;
}

void ResponseWriter::reply_error(const HttpError& error) {
  reply(error.status, "application/json", error_json(error, shape_.path), error.headers);
}

void ResponseWriter::start_stream(std::string_view content_type, Headers extra) {
  if (phase_ != Phase::Nothing) {
    spdlog::error("request {}: a stream after a reply was dropped", shape_.request_id);
    return;
  }
  phase_ = Phase::Streaming;
  status_ = 200;
  event_stream_ = content_type == "text/event-stream";
  chunked_ = shape_.minor_version >= 1;
  if (!chunked_) close_after();
  if (event_stream_ && !has_field(extra, "cache-control")) extra.emplace_back("Cache-Control", "no-cache");
  if (event_stream_ && !has_field(extra, "x-accel-buffering")) extra.emplace_back("X-Accel-Buffering", "no");
  std::string head = make_head(200, content_type, extra);
  if (chunked_) add_field(head, "Transfer-Encoding", "chunked");
  head.append("\r\n");
  send({head});  // at once: proxies and clients wait for the head, the first token may take a while
}

bool ResponseWriter::write(std::string_view bytes) {
  if (phase_ != Phase::Streaming || shape_.head_only) return false;
  if (bytes.empty()) return !broken_;  // an empty chunk would end the stream
  if (!chunked_) return send({bytes});
  std::array<char, 20> size;
  char* end = std::to_chars(size.data(), size.data() + size.size() - 2, bytes.size(), 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return send({std::string_view(size.data(), static_cast<size_t>(end - size.data())), bytes, "\r\n"});
}

void ResponseWriter::end_stream() {
  if (phase_ != Phase::Streaming) return;
  phase_ = Phase::Done;
  if (chunked_ && !shape_.head_only) send({"0\r\n\r\n"});
}

bool ResponseWriter::client_gone() {
  if (!broken_ && peer_gone(fd_)) broken_ = true;
  return broken_;
}

void ResponseWriter::fail(const HttpError& error) {
  close_after();
  if (phase_ == Phase::Nothing) return reply_error(error);
  if (phase_ != Phase::Streaming) return;
  if (event_stream_) {
    write("data: " + error_json(error, shape_.path) + "\n\n");
    end_stream();
  } else {
    phase_ = Phase::Done;  // no last chunk: the client sees that the body is incomplete
  }
}

void ResponseWriter::finish() {
  if (phase_ == Phase::Streaming) end_stream();
  if (phase_ != Phase::Nothing) return;
  if (client_gone()) {
    status_ = 499;  // nobody to answer
    return;
  }
  spdlog::error("request {}: the handler gave no reply", shape_.request_id);
  reply_error({500, "internal_error", "The server failed to answer this request."});
}

}  // namespace qwend::http
