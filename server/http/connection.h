// One client connection: its buffer, its head parser, and the answering of its requests one after the other.
#pragma once
#include <optional>
#include <string>

#include "server/http/body.h"
#include "server/http/context.h"
#include "server/http/head.h"
#include "server/http/response.h"
#include "server/http/socket.h"

namespace qwend::http {

extern const HttpError kTooManyConnections;  // 503

// Owned by the event loop, used by one thread at a time: the loop while waiting for a head, a worker while
// serving.
class Connection {
 public:
  // What to do with the connection once its requests are answered.
  enum class After {
    Park,    // wait for the next head
    Linger,  // send our end of file, discard what still comes, then close: closing with unread bytes would
             // reset the connection and could destroy the response on its way
    Close,
  };

  // `reserved`: beyond max_connections, only open routes are served.
  Connection(Fd fd, ServerContext& context, std::string remote, bool reserved);

  int fd() const { return fd_.get(); }
  bool idle() const { return in_.empty(); }  // no byte of a next request has arrived
  bool started() const { return served_ > 0; }

  // Loop: takes in what has arrived, without waiting.
  IoStatus fill();
  HeadParser::State parse() { return parser_.advance(in_); }
  // Worker: answers all complete requests in the buffer, in order.
  After serve();
  // Loop: sends an error without waiting, e.g. 408 for a head that does not arrive.
  void refuse(const HttpError& error);
  // Loop: takes and drops what has arrived. Closed at the peer's end of file.
  IoStatus discard();

 private:
  struct Exchange;
  std::optional<After> serve_one();
  std::optional<HttpError> admit(Exchange& exchange) const;
  std::optional<HttpError> check_framing(const Exchange& exchange) const;
  void run_handler(Exchange& exchange);
  bool skip_buffered_body(const Head& head);
  Headers cors_headers(const Request& request) const;
  ResponseShape shape_for(const Head& head) const;
  void log(const Exchange& exchange);

  Fd fd_;
  ServerContext& context_;
  const std::string remote_;
  const bool reserved_;
  std::string in_;  // received, not yet used
  HeadParser parser_;
  uint64_t served_ = 0;
};

}  // namespace qwend::http
