// HTTP/1.1 (RFC 9110, 9112) under limits and deadlines. Handlers see these types only.
//
// Why not cpp-httplib's server: the packaged 0.11.4 reads heads and bodies without total deadlines or caps,
// matches routes with recursive regular expressions, decodes percent escapes in header values, answers Range
// on API replies, spends a thread on each idle connection, and a handler there can't decide between a reply
// and a stream once it runs. What is left once sockets, parsing and framing are done here is a status line.
// Its client is used in the tests, as an independent peer.
//
// One thread (run()) accepts and watches all connections that wait for a head; a complete head moves the
// connection to a worker thread, which reads the body, runs the handler and answers, then gives it back. Idle
// connections cost no thread.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwend::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Limits {
  size_t max_request_line = 8 << 10, max_header_line = 8 << 10, max_head = 32 << 10;
  int max_fields = 100;
  size_t max_body = 16 << 20, max_inflight_bodies = 256 << 20;
  std::chrono::milliseconds head_timeout{10'000}, body_timeout{30'000}, write_stall{60'000},
      keep_alive{15'000};
  int max_connections = 1024;     // one more is answered 503; health has a reserved lane
  int reserved_connections = 16;  // for /livez, /readyz, /health, /metrics
  int backlog = 1024;
};

struct Request {
  std::string method;  // upper case
  std::string path;    // decoded, without query
  std::string query;
  Headers headers;  // names in lower case
  std::string body;
  std::string remote;                    // peer address
  std::string request_id;                // the client's X-Request-Id when sound, else made here
  std::string key_name;                  // name of the API key that let it in; empty without keys
  std::vector<std::string> path_params;  // what the pattern's {name} parts matched
  const std::string* header(std::string_view lower_case_name) const;  // nullptr when absent
};

// What an answer has cost, for the access log.
struct TokenCounts {
  int64_t prompt = 0, cached = 0, completion = 0;  // cached: of the prompt
};

// Answers one request, on the connection's thread: either reply() once, or start_stream() and write().
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void reply(int status, std::string_view content_type, std::string body, Headers extra = {}) = 0;
  // Status 200, chunked. SSE: content_type "text/event-stream" exactly, Cache-Control: no-cache,
  // X-Accel-Buffering: no.
  virtual void start_stream(std::string_view content_type, Headers extra = {}) = 0;
  // False once the client is gone or has not read for limits.write_stall. Never throws.
  virtual bool write(std::string_view bytes) = 0;
  virtual void end_stream() = 0;
  // Cheap poll of the socket: the peer has closed or reset. For requests that wait without writing.
  virtual bool client_gone() = 0;
  virtual void add_tokens(const TokenCounts& /*counts*/) {}  // several calls add up
  virtual bool shutting_down() = 0;                          // the drain time is over: end now
};

using Handler = std::function<void(const Request&, Responder&)>;

// Decides about authorisation from the head alone, before the body is read. Returns the key's name, or
// nothing to refuse (401).
struct AuthResult {
  bool allowed = true;
  std::string key_name;
};
using Authoriser = std::function<AuthResult(const Request& head)>;

// Called at the end of each request, for the log line and metrics.
struct AccessRecord {
  std::string request_id, method, path, remote, key_name;
  int status = 0;          // 499: the client left before an answer
  std::string error_code;  // of an error that the transport made (413, 408, 404 …); else empty
  size_t bytes_in = 0, bytes_out = 0;
  TokenCounts tokens;  // all 0 where nothing was computed
  double seconds = 0;
  bool aborted = false;  // the client went away first
};
using AccessLog = std::function<void(const AccessRecord&)>;

// All errors that arise here (413, 408, 404, 405 …) are OpenAI-shaped: {"error":{message,type,param,code}}.
class Server {
 public:
  explicit Server(Limits limits);
  ~Server();
  // pattern: "/v1/models/{id}"; {id} may contain slashes when it is the last part. Known path, other method:
  // 405 + Allow.
  void route(std::string method, std::string pattern, Handler handler);
  void open_route(std::string method, std::string pattern, Handler handler);  // health: no key, reserved lane
  // While loading, /livez is answered 200 and everything else 503 "loading"; routes may still be added. Call
  // it with true before run(), with false when all routes are there.
  void set_loading(bool loading);
  void set_authoriser(Authoriser authoriser);
  void set_access_log(AccessLog log);
  void set_cors_origins(std::vector<std::string> allowed);  // empty: off
  // Binds and listens. port 0: any. Returns the port. Throws std::runtime_error (port taken, bad address).
  int bind(const std::string& host, int port);
  // Serves until stop(), then returns once no request is left. Once.
  void run();
  // Returns at once; run() does the rest: closes the listener and idle connections, lets requests in flight
  // end for up to `grace`, then makes Responder::shutting_down() true, and a second later shuts the sockets.
  // Any thread, handlers included; a later call can only shorten the time left. Answering 503 "draining" for
  // a while before is up to handlers.
  void stop(std::chrono::milliseconds grace);
  int open_connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend::http
