// Writes one response: whole, or as a stream.
#pragma once
#include <string>
#include <string_view>

#include "server/http/context.h"
#include "server/http/error.h"
#include "server/http/http_server.h"

namespace qwend::http {

// What the request says about the shape of its response.
struct ResponseShape {
  bool head_only = false;                    // HEAD: the same head, no body
  int minor_version = 1;                     // 0: streams end with the connection
  bool keep_alive = false;                   // as far as the client is concerned
  std::chrono::milliseconds write_stall{0};  // 0: what the socket does not take at once is dropped
  std::string request_id;
  std::string path = {};  // decides the shape of errors
  Headers cors = {};
};

// Used by the connection's worker only. Replying twice is logged and ignored: one handler's slip must not end
// the server.
class ResponseWriter final : public Responder {
 public:
  ResponseWriter(int fd, const ServerContext& context, ResponseShape shape);

  void reply(int status, std::string_view content_type, std::string body, Headers extra = {}) override;
  void start_stream(std::string_view content_type, Headers extra = {}) override;
  bool write(std::string_view bytes) override;
  void end_stream() override;
  bool client_gone() override;
  void add_tokens(const TokenCounts& counts) override;
  bool shutting_down() override { return context_.cut.load(); }

  void reply_error(const HttpError& error);
  // After a handler that threw: an error reply, or an error event if a stream has begun; the connection ends.
  void fail(const HttpError& error);
  // After a handler that returned: ends an open stream; answers 500 if nothing was said to a client still
  // there.
  void finish();
  void close_after() { shape_.keep_alive = false; }

  bool keep_alive() const { return shape_.keep_alive && !broken_; }
  bool aborted() const { return broken_; }
  int status() const { return status_; }
  size_t bytes_out() const { return bytes_out_; }
  const TokenCounts& tokens() const { return tokens_; }

 private:
  enum class Phase { Nothing, Streaming, Done };
  std::string make_head(int status, std::string_view content_type, const Headers& extra);
  bool send(std::initializer_list<std::string_view> parts);

  const int fd_;
  const ServerContext& context_;
  ResponseShape shape_;
  Phase phase_ = Phase::Nothing;
  bool event_stream_ = false, chunked_ = false;
  bool broken_ = false;  // the client went away or stopped reading
  int status_ = 0;
  size_t bytes_out_ = 0;
  TokenCounts tokens_;
};

}  // namespace qwend::http
