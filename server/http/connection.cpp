#include "server/http/connection.h"

#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <new>
#include <random>

namespace qwend::http {

const HttpError kTooManyConnections{
    503, "overloaded", "Too many connections are open.", {{"Retry-After", "1"}}};

namespace {

constexpr size_t kReadSize = 16 << 10;

std::string make_request_id() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return fmt::format("req-{:016x}{:016x}", random(), random());
}

// The client's own id is echoed and logged, so it must be short and printable.
bool sound_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
}

bool takes_body(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

size_t count_headers(const Request& request, std::string_view name) {
  return static_cast<size_t>(std::ranges::count(request.headers, name, &Headers::value_type::first));
}

bool is_json(const Request& request) {
  if (count_headers(request, "content-type") > 1) return false;
  const std::string* type = request.header("content-type");
  if (type == nullptr) return true;
  std::string_view media = std::string_view(*type).substr(0, type->find(';'));
  while (!media.empty() && (media.back() == ' ' || media.back() == '\t')) media.remove_suffix(1);
  return equals_ignoring_case(media, "application/json");
}

bool is_preflight(const Request& request) {
  return request.method == "OPTIONS" && request.header("access-control-request-method") != nullptr;
}

}  // namespace

// One request and its answer.
struct Connection::Exchange {
  Exchange(Head given, int fd, ServerContext& context, ResponseShape shape)
      : head(std::move(given)),
        loading(context.loading.load(std::memory_order_acquire)),
        match(loading ? Router::Match{} : context.router.match(head.request.method, head.request.path)),
        lease(context.bodies),
        out(fd, context, std::move(shape)) {}

  Head head;
  const bool loading;  // as it was when the request came
  Router::Match match;
  BodyLease lease;
  ResponseWriter out;
  size_t bytes_in = 0;
  std::string error_code;  // of an error made here, not by a handler
  int gone_status = 0;     // set when the client left before any answer
  SteadyClock::time_point start = SteadyClock::now();

  void refuse(const HttpError& error) {
    error_code = error.code;
    out.reply_error(error);
  }
};

Connection::Connection(Fd fd, ServerContext& context, std::string remote, bool reserved)
    : fd_(std::move(fd)),
      context_(context),
      remote_(std::move(remote)),
      reserved_(reserved),
      parser_(context.limits) {}

IoStatus Connection::fill() { return receive_now(fd(), in_, kReadSize); }

IoStatus Connection::discard() {
  in_.clear();
  return receive_now(fd(), in_, kReadSize);
}

ResponseShape Connection::shape_for(const Head& head) const {
  ResponseShape shape;
  shape.head_only = head.request.method == "HEAD";
  shape.minor_version = head.minor_version;
  shape.keep_alive = head.keep_alive && !reserved_;
  shape.write_stall = context_.limits.write_stall;
  const std::string* id = head.request.header("x-request-id");
  shape.request_id = id != nullptr && sound_request_id(*id) ? *id : make_request_id();
  shape.path = head.request.path;
  shape.cors = cors_headers(head.request);
  return shape;
}

Headers Connection::cors_headers(const Request& request) const {
  const std::string* origin = request.header("origin");
  if (origin == nullptr || context_.cors_origins.empty()) return {};
  const bool any = std::ranges::find(context_.cors_origins, "*") != context_.cors_origins.end();
  if (!any && std::ranges::find(context_.cors_origins, *origin) == context_.cors_origins.end()) {
    return {{"Vary", "Origin"}};
  }
  return {{"Access-Control-Allow-Origin", any ? "*" : *origin},
          {"Access-Control-Expose-Headers", "x-request-id, Retry-After"},
          {"Vary", "Origin"}};
}

Connection::After Connection::serve() {
  for (;;) {
    switch (parser_.advance(in_)) {
      case HeadParser::State::NeedMore:
        if (in_.empty()) in_.shrink_to_fit();  // a parked connection holds no buffer
        return After::Park;
      case HeadParser::State::Failed: {
        refuse(parser_.error());
        return After::Linger;
      }
      case HeadParser::State::Done:
        if (const auto after = serve_one()) return *after;
    }
  }
}

// Answers the request whose head is complete. Nothing: go on with the next.
std::optional<Connection::After> Connection::serve_one() {
  ++served_;
  Head head = parser_.take();
  in_.erase(0, parser_.size());
  parser_.reset();
  ResponseShape shape = shape_for(head);
  head.request.request_id = shape.request_id;
  head.request.remote = remote_;
  Exchange exchange(std::move(head), fd(), context_, std::move(shape));
  exchange.head.request.path_params = exchange.match.params;

  if (is_preflight(exchange.head.request) && !context_.cors_origins.empty()) {
    if (!skip_buffered_body(exchange.head)) exchange.out.close_after();
    exchange.out.reply(
        204, "", "",
        {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
         {"Access-Control-Allow-Headers", "Authorization, Content-Type, x-api-key, x-request-id"},
         {"Access-Control-Max-Age", "600"}});
  } else if (exchange.loading && exchange.head.request.path == "/livez") {
    exchange.out.reply(200, "application/json", R"({"status":"ok"})", {});
  } else if (const auto error = admit(exchange)) {
    if (!skip_buffered_body(exchange.head)) exchange.out.close_after();
    exchange.refuse(*error);
  } else {
    run_handler(exchange);
  }
  log(exchange);
  if (exchange.out.aborted() || exchange.gone_status != 0) return After::Close;
  return exchange.out.keep_alive() ? std::optional<After>() : After::Linger;
}

// Whether the request may go on to its handler, decided from the head alone. 401 comes before 404, so that
// without a key nothing can be learnt about paths.
std::optional<HttpError> Connection::admit(Exchange& exchange) const {
  Request& request = exchange.head.request;
  const Router::Match& match = exchange.match;
  if (reserved_ && !match.open) {
    return kTooManyConnections;
  }
  if (context_.cut.load()) {
    return HttpError{503, "draining", "The server is shutting down.", {{"Retry-After", "1"}}};
  }
  if (exchange.loading) return HttpError{503, "loading", "The model is loading.", {{"Retry-After", "5"}}};
  if (!match.open && context_.authorise) {
    AuthResult result = context_.authorise(request);
    if (!result.allowed) {
      return HttpError{401,
                       "invalid_api_key",
                       "A valid API key is needed: Authorization: Bearer KEY, or x-api-key: KEY.",
                       {{"WWW-Authenticate", "Bearer"}}};
    }
    request.key_name = std::move(result.key_name);
  }
  const bool never_served = request.method == "TRACE" || request.method == "CONNECT";
  if (match.allow.empty() && !never_served) {
    return HttpError{404, "unknown_url", "Unknown request URL: " + request.method + " " + request.path + "."};
  }
  if (match.handler == nullptr) {
    return HttpError{405,
                     "method_not_allowed",
                     "This URL does not serve " + request.method + ".",
                     {{"Allow", match.allow.empty() ? "GET, HEAD, POST" : match.allow}}};
  }
  return check_framing(exchange);
}

std::optional<HttpError> Connection::check_framing(const Exchange& exchange) const {
  const Head& head = exchange.head;
  const Request& request = head.request;
  if (takes_body(request.method) && !head.chunked && !head.content_length) {
    return HttpError{411, "length_required", "A request with a body needs Content-Length or chunked coding."};
  }
  if (head.content_length.value_or(0) > context_.limits.max_body) {
    return HttpError{413, "body_too_large",
                     "The body is larger than " + std::to_string(context_.limits.max_body) + " bytes."};
  }
  const auto encoded = [](const auto& field) {
    return field.first == "content-encoding" && !equals_ignoring_case(field.second, "identity");
  };
  if (std::ranges::any_of(request.headers, encoded)) {
    return HttpError{415, "unsupported_content_encoding", "Compressed request bodies are not served."};
  }
  if (takes_body(request.method) && !is_json(request)) {
    return HttpError{415, "unsupported_content_type", "Content-Type must be application/json."};
  }
  for (const auto& [name, value] : request.headers) {
    if (name == "expect" && !equals_ignoring_case(value, "100-continue")) {
      return HttpError{417, "expectation_failed", "The only expectation served is 100-continue."};
    }
  }
  return std::nullopt;
}

void Connection::run_handler(Exchange& exchange) {
  Request& request = exchange.head.request;
  try {
    if (exchange.head.has_body()) {
      const bool asks = request.header("expect") != nullptr && exchange.head.minor_version >= 1;
      if (asks && in_.empty()) send_all(fd(), {"HTTP/1.1 100 Continue\r\n\r\n"}, context_.limits.write_stall);
      const auto failure = read_body(fd(), exchange.head, context_.limits, exchange.lease, in_, request.body,
                                     exchange.bytes_in);
      if (failure && failure->client_gone) {
        exchange.gone_status = 499;
        return;
      }
      if (failure) {
        exchange.out.close_after();
        return exchange.refuse(failure->error);
      }
    }
    (*exchange.match.handler)(request, exchange.out);
    exchange.out.finish();
  } catch (const std::bad_alloc&) {
    spdlog::error("request {}: out of memory", request.request_id);
    exchange.out.fail({503, "overloaded", "The server is out of memory.", {{"Retry-After", "1"}}});
  } catch (const std::exception& error) {
    spdlog::error("request {}: {}", request.request_id, error.what());
    exchange.out.fail({500, "internal_error", "The server failed to answer this request."});
  } catch (...) {
    spdlog::error("request {}: unknown exception", request.request_id);
    exchange.out.fail({500, "internal_error", "The server failed to answer this request."});
  }
}

// Drops the body of a refused request if it has arrived; if not, the connection can't be used any more
// (false).
bool Connection::skip_buffered_body(const Head& head) {
  if (!head.has_body()) return true;
  if (head.chunked || *head.content_length > in_.size()) return false;
  in_.erase(0, static_cast<size_t>(*head.content_length));
  return true;
}

void Connection::refuse(const HttpError& error) {
  ResponseShape shape = shape_for(parser_.head());
  shape.keep_alive = false;
  shape.write_stall = std::chrono::milliseconds(0);
  Exchange exchange(parser_.head(), fd(), context_, shape);
  exchange.head.request.request_id = shape.request_id;
  exchange.refuse(error);
  log(exchange);
}

void Connection::log(const Exchange& exchange) {
  if (!context_.access_log) return;
  const Request& request = exchange.head.request;
  AccessRecord record;
  record.request_id = request.request_id;
  record.method = request.method;
  record.path = request.path;
  record.remote = remote_;
  record.key_name = request.key_name;
  record.status = exchange.gone_status != 0 ? exchange.gone_status : exchange.out.status();
  record.error_code = exchange.error_code;
  record.bytes_in = exchange.bytes_in;
  record.bytes_out = exchange.out.bytes_out();
  record.tokens = exchange.out.tokens();
  record.seconds = std::chrono::duration<double>(SteadyClock::now() - exchange.start).count();
  record.aborted = exchange.out.aborted() || exchange.gone_status != 0;
  try {
    context_.access_log(record);
  } catch (const std::exception& error) {
    spdlog::error("request {}: the access log failed: {}", record.request_id, error.what());
  }
}

}  // namespace qwend::http
