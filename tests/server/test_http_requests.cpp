// Requests that are fine, and requests that are not: each gets exactly the status and the error body it
// should.
#include <httplib.h>

#include <random>

#include "tests/server/http_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

// Besides its own status, no bad request may disturb the next one.
void check_healthy(TestServer& server) {
  const RawResponse health = server.get("/health");
  CHECK(health.status == 200);
  CHECK(health.body == "ok");
}

std::string head(const std::string& request_line, const std::string& headers = "Host: test\r\n") {
  return request_line + "\r\n" + headers + "\r\n";
}

// One to four random edits: bytes changed, dropped, repeated, or put in from what parsers trip over.
std::string damaged(std::string text, std::mt19937& random) {
  constexpr std::string_view kPieces[] = {
      "\r\n", "\r\n\r\n", "\n",   "\r",    ":",   " ",      "\t",
      "%",    "%00",      "HTTP", "0\r\n", "fff", "-1",     "99999999999999999999",
      ",",    ";",        "/../", "?",     "#",   "chunked"};
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (size_t edits = 1 + below(4); edits > 0 && !text.empty(); --edits) {
    const size_t at = below(text.size()), length = std::min(1 + below(20), text.size() - at);
    switch (below(5)) {
      case 0: text[at] = static_cast<char>(below(256)); break;
      case 1: text.erase(at, length); break;
      case 2: text.insert(at, text.substr(at, length)); break;
      case 3: text.insert(at, kPieces[below(std::size(kPieces))]); break;
      default: text.resize(at);
    }
  }
  return text;
}

}  // namespace

TEST_CASE("http: an independent client is served, keep-alive, streams and HEAD included", "[server][http]") {
  TestServer server;
  httplib::Client client("127.0.0.1", server.port);
  client.set_keep_alive(true);
  const auto models = client.Get("/v1/models");
  REQUIRE(models);
  CHECK(models->status == 200);
  CHECK(models->body == "[]");
  const std::string body(300'000, 'b');
  const auto echo = client.Post("/v1/echo", body, "application/json");
  REQUIRE(echo);
  CHECK(echo->body == body);
  const auto events = client.Get("/v1/events?3");
  REQUIRE(events);
  CHECK(events->get_header_value("Content-Type") == "text/event-stream");
  CHECK(events->get_header_value("Cache-Control") == "no-cache");
  CHECK(events->get_header_value("X-Accel-Buffering") == "no");
  CHECK(events->body == "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  const auto without_body = client.Head("/v1/models");
  REQUIRE(without_body);
  CHECK(without_body->status == 200);
  CHECK(without_body->get_header_value("Content-Length") == "2");
  CHECK(without_body->body.empty());
  // A body in chunks whose number the client does not announce.
  int pieces = 3;
  const auto chunked = client.Post(
      "/v1/echo",
      [&](size_t, httplib::DataSink& sink) {
        if (pieces-- > 0) {
          sink.write("abc", 3);
        } else {
          sink.done();
        }
        return true;
      },
      "application/json");
  REQUIRE(chunked);
  CHECK(chunked->body == "abcabcabc");
}

TEST_CASE("http: paths are decoded, matched literally and by parameter", "[server][http]") {
  TestServer server;
  CHECK(server.get("/").body == "root");
  CHECK(server.get("/v1/models?x=1").body == "[]");
  CHECK(server.get("/v1/models/Qwen/Qwen3-8B").body == "Qwen/Qwen3-8B");
  CHECK(server.get("/v1/models/Qwen%2FQwen3%20x").body == "Qwen/Qwen3 x");
  CHECK(server.exchange(head("GET http://other/v1/models HTTP/1.1")).body == "[]");
  for (const char* path :
       {"//v1/models", "/v1//models", "/v1/../", "/v1/../v1/models", "/v1/%2e%2e/v1/models", "/v1/models/",
        "/v1/models/.", "/v1/models/a/../b", "/nothing", "/v1"}) {
    INFO(path);
    check_error(server.get(path), 404, "unknown_url");
  }
  check_healthy(server);
}

TEST_CASE("http: malformed request lines", "[server][http]") {
  TestServer server;
  const std::string random("\x16\x03\x01\x02\x00\x01\x00\xfc\x03\x03", 10);
  check_error(server.exchange(random), 400, "invalid_http");
  check_error(server.exchange("\x80\xff\xfe"), 400, "invalid_http");
  for (const char* line :
       {"GET /v1/models", "GET", "GET  /v1/models HTTP/1.1", "GET /v1 models HTTP/1.1", " GET / HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/1.x", "GET / HTTP/11", "G\"T / HTTP/1.1", "GET v1/models HTTP/1.1",
        "GET /v1/models#top HTTP/1.1", "GET /%zz HTTP/1.1", "GET /%2 HTTP/1.1", "GET /%00 HTTP/1.1",
        "GET /v1/models%0d%0aX-Evil:%201 HTTP/1.1", "GET /caf\xc3\xa9 HTTP/1.1"}) {
    INFO(line);
    check_error(server.exchange(head(line)), 400, "invalid_http");
  }
  check_error(server.exchange("GET /" + std::string(9000, 'a')), 414, "uri_too_long");
  check_error(server.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "invalid_http");
  check_error(server.exchange(head("BREW /v1/models HTTP/1.1")), 501, "invalid_http");
  check_error(server.exchange(head("get /v1/models HTTP/1.1")), 501, "invalid_http");
  check_healthy(server);
}

TEST_CASE("http: malformed heads", "[server][http]") {
  TestServer server;
  const std::string get = "GET /v1/models HTTP/1.1\r\n";
  for (const char* headers :
       {"", "Host: a\r\nHost: b\r\n", "Host: a b\r\n", "Host: test\r\nX Y: 1\r\n", "Host : test\r\n",
        "Host: test\r\nnocolon\r\n", "Host: test\r\n: empty\r\n", "Host: test\r\nA: 1\r\n folded\r\n",
        "Host: test\r\nA: 1\r\n\tfolded\r\n", "Host: test\nA: 1\r\n", "Host: te\rst\r\n",
        "Host: test\r\nA: \x01\r\n", "Host: test\r\nA: \x7f\r\n"}) {
    INFO(headers);
    check_error(server.exchange(get + headers + "\r\n"), 400, "invalid_http");
  }
  check_error(server.exchange("GET / HTTP/1.1\nHost: test\n\n"), 400, "invalid_http");
  check_error(server.exchange(get + std::string("Host: test\r\nA: \0b\r\n\r\n", 21)), 400, "invalid_http");
  check_error(server.exchange(get + "Host: test\r\nA: " + std::string(9000, 'a')), 431, "head_too_large");
  std::string many = get + "Host: test\r\n";
  for (int i = 0; i < 100; ++i) many += "A: 1\r\n";
  check_error(server.exchange(many + "\r\n"), 431, "head_too_large");
  std::string large = get + "Host: test\r\n";
  for (int i = 0; i < 5; ++i) large += "A: " + std::string(8000, 'a') + "\r\n";
  check_error(server.exchange(large + "\r\n"), 431, "head_too_large");
  check_healthy(server);
}

TEST_CASE("http: escapes in header values stay what they are", "[server][http]") {
  TestServer server;
  const RawResponse response = server.get("/v1/models", "X-Request-Id: a%0d%0aX-Evil:1\r\n");
  CHECK(response.header("x-request-id") == "a%0d%0aX-Evil:1");
  CHECK(response.header("x-evil").empty());
}

TEST_CASE("http: bodies whose length is in doubt", "[server][http]") {
  TestServer server;
  const std::string line = "POST /v1/echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";
  for (const char* headers :
       {"Content-Length: -1\r\n", "Content-Length: +5\r\n", "Content-Length: \r\n",
        "Content-Length: 12abc\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 0x5\r\n",
        "Content-Length: 18446744073709551616\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    INFO(headers);
    check_error(server.exchange(line + headers + "\r\nhello"), 400, "invalid_http");
  }
  for (const char* coding : {"gzip", "gzip, chunked", "chunked, identity", "xchunked", ""}) {
    INFO(coding);
    check_error(server.exchange(line + "Transfer-Encoding: " + coding + "\r\n\r\n"), 501, "invalid_http");
  }
  check_error(server.exchange(line + "\r\n"), 411, "length_required");
  check_error(server.exchange(line + "Content-Length: 16777217\r\n\r\n"), 413, "body_too_large");
  check_error(server.exchange(line + "Content-Length: 18446744073709551615\r\n\r\n"), 413, "body_too_large");
  check_healthy(server);
}

TEST_CASE("http: chunked bodies", "[server][http]") {
  TestServer server;
  const std::string line = "POST /v1/length HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(server.exchange(line + "3\r\nabc\r\n0005;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n").body == "8");
  CHECK(server.exchange(line + "0\r\n\r\n").body == "0");
  for (const char* body : {"-2\r\nab\r\n0\r\n\r\n", "00000000000000000001\r\na\r\n0\r\n\r\n", "\r\n\r\n",
                           "g\r\n", "3 x\x01\r\nabc\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
                           "0x3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n"}) {
    INFO(body);
    check_error(server.exchange(line + body), 400, "invalid_http");
  }
  check_error(server.exchange(line + std::string(2000, '0')), 400, "invalid_http");
  check_error(server.exchange(line + "ffffffffffffffff\r\n"), 413, "body_too_large");
  check_error(server.exchange(line + "1000001\r\n"), 413, "body_too_large");
  check_healthy(server);
}

TEST_CASE("http: a million chunks of one byte", "[server][http]") {
  TestServer server;
  std::string body;
  body.reserve(6'000'005);
  for (int i = 0; i < 1'000'000; ++i) body += "1\r\na\r\n";
  const auto start = std::chrono::steady_clock::now();
  CHECK(server
            .exchange("POST /v1/length HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + body +
                      "0\r\n\r\n")
            .body == "1000000");
  CHECK(std::chrono::steady_clock::now() - start < 30s);
}

TEST_CASE("http: content that is not plain JSON", "[server][http]") {
  TestServer server;
  const auto with = [&](const std::string& headers) {
    return server.exchange("POST /v1/echo HTTP/1.1\r\nHost: test\r\n" + headers +
                           "Content-Length: 2\r\n\r\n{}");
  };
  for (const char* type : {"multipart/form-data; boundary=x", "text/plain",
                           "application/x-www-form-urlencoded", "application/jsonp", ""}) {
    INFO(type);
    check_error(with("Content-Type: " + std::string(type) + "\r\n"), 415, "unsupported_content_type");
  }
  check_error(with("Content-Type: application/json\r\nContent-Type: text/plain\r\n"), 415,
              "unsupported_content_type");
  for (const char* coding : {"gzip", "br", "deflate"}) {
    check_error(with("Content-Encoding: " + std::string(coding) + "\r\n"), 415,
                "unsupported_content_encoding");
  }
  CHECK(with("").body == "{}");
  CHECK(with("Content-Type: Application/JSON ; charset=utf-8\r\n").body == "{}");
  CHECK(with("Content-Encoding: identity\r\n").body == "{}");
  check_healthy(server);
}

TEST_CASE("http: methods", "[server][http]") {
  TestServer server;
  check_error(server.exchange(head("TRACE /v1/models HTTP/1.1")), 405, "method_not_allowed");
  check_error(server.exchange(head("CONNECT test:80 HTTP/1.1")), 405, "method_not_allowed");
  check_error(server.exchange(head("OPTIONS /v1/echo HTTP/1.1")), 405, "method_not_allowed");
  const RawResponse wrong = server.exchange(post("/v1/models", "{}"));
  check_error(wrong, 405, "method_not_allowed");
  CHECK(wrong.header("allow") == "GET, HEAD");
  const RawResponse get = server.get("/v1/echo");
  check_error(get, 405, "method_not_allowed");
  CHECK(get.header("allow") == "POST");
}

TEST_CASE("http: Range and Accept-Encoding are ignored", "[server][http]") {
  TestServer server;
  const RawResponse response = server.get("/v1/models", "Range: bytes=0-0\r\nAccept-Encoding: gzip, br\r\n");
  CHECK(response.status == 200);
  CHECK(response.body == "[]");
  CHECK(response.header("content-encoding").empty());
}

TEST_CASE("http: request ids are taken over when sound and made otherwise", "[server][http]") {
  TestServer server;
  CHECK(server.get("/v1/models", "X-Request-Id: abc-123\r\n").header("x-request-id") == "abc-123");
  for (const std::string& id :
       {std::string(129, 'a'), std::string("caf\xc3\xa9"), std::string("a b"), std::string()}) {
    const RawResponse response = server.get("/v1/models", "X-Request-Id: " + id + "\r\n");
    CHECK(response.header("x-request-id").starts_with("req-"));
  }
  CHECK(server.get("/v1/models").header("x-request-id") != server.get("/v1/models").header("x-request-id"));
}

TEST_CASE("http: Expect: 100-continue", "[server][http]") {
  TestServer server;
  RawClient client(server.port);
  client.send("POST /v1/echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(client.expect_response().status == 100);
  client.send("{}");
  CHECK(client.expect_response().body == "{}");
  // Refused before the body is sent: no 100.
  RawClient refused(server.port);
  refused.send("POST /nothing HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  check_error(refused.expect_response(), 404, "unknown_url");
  check_error(server.exchange(post("/v1/echo", "{}", "Expect: rain\r\n")), 417, "expectation_failed");
}

TEST_CASE("http: pipelined requests are answered in order", "[server][http]") {
  TestServer server;
  RawClient client(server.port);
  std::string all;
  for (int i = 0; i < 50; ++i) all += post("/v1/echo", std::to_string(i));
  all += "GET /v1/events?2 HTTP/1.1\r\nHost: test\r\n\r\n";
  all += post("/nothing", "{}");
  all += "GET /v1/models HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\nGET /v1/models HTTP/1.1\r\n";
  client.send(all);
  for (int i = 0; i < 50; ++i) CHECK(client.expect_response().body == std::to_string(i));
  CHECK(client.expect_response().body == "data: 0\n\ndata: 1\n\n");
  check_error(client.expect_response(), 404, "unknown_url");
  const RawResponse last = client.expect_response();
  CHECK(last.body == "[]");
  CHECK(last.header("connection") == "close");
  CHECK(client.closed_by_server());
}

TEST_CASE("http: HTTP/1.0 clients", "[server][http]") {
  TestServer server;
  RawClient plain(server.port);
  plain.send("GET /v1/models HTTP/1.0\r\n\r\n");
  const RawResponse response = plain.expect_response();
  CHECK(response.body == "[]");
  CHECK(response.header("connection") == "close");
  CHECK(plain.closed_by_server());
  RawClient kept(server.port);
  for (int i = 0; i < 2; ++i) {
    kept.send("GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(kept.expect_response().body == "[]");
  }
  kept.send("GET /v1/events?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const RawResponse events = kept.expect_response();
  CHECK(events.header("transfer-encoding").empty());
  CHECK(events.body == "data: 0\n\ndata: 1\n\n");
  check_error(server.exchange("POST /v1/echo HTTP/1.0\r\n\r\n"), 411, "length_required");
}

TEST_CASE("http: handlers that fail", "[server][http]") {
  TestServer server;
  const RawResponse failed = server.exchange(post("/v1/throw", "{}"));
  check_error(failed, 500, "internal_error");
  CHECK(failed.body.find("secret") == std::string::npos);
  check_error(server.get("/v1/silent"), 500, "internal_error");
  RawClient client(server.port);
  client.send("GET /v1/throw-late HTTP/1.1\r\nHost: test\r\n\r\n");
  const RawResponse late = client.expect_response();
  CHECK(late.status == 200);
  CHECK(late.complete);
  CHECK(late.body.starts_with("data: 1\n\ndata: {\"error\":{\"message\":"));
  CHECK(late.body.ends_with("\"code\":\"internal_error\"}}\n\n"));
  CHECK(late.body.find("secret") == std::string::npos);
  CHECK(client.closed_by_server());
}

TEST_CASE("http: CORS is off by default and an allow-list otherwise", "[server][http]") {
  const std::string origin = "Origin: https://app.example\r\n";
  const std::string preflight =
      "OPTIONS /v1/echo HTTP/1.1\r\nHost: test\r\n" + origin + "Access-Control-Request-Method: POST\r\n\r\n";
  {
    TestServer server;
    CHECK(server.get("/v1/models", origin).header("access-control-allow-origin").empty());
    check_error(server.exchange(preflight), 405, "method_not_allowed");
  }
  TestServer server({}, [](http::Server& s) {
    s.set_cors_origins({"https://app.example"});
    s.set_authoriser([](const http::Request& r) {
      return http::AuthResult{r.header("x-api-key") != nullptr, "k"};
    });
  });
  const RawResponse answer = server.exchange(preflight);
  CHECK(answer.status == 204);
  CHECK(answer.header("access-control-allow-origin") == "https://app.example");
  CHECK(answer.header("access-control-allow-headers").find("Authorization") != std::string::npos);
  CHECK(answer.header("vary") == "Origin");
  const RawResponse error = server.get("/v1/models", origin);
  check_error(error, 401, "invalid_api_key");
  CHECK(error.header("access-control-allow-origin") == "https://app.example");
  CHECK(server.get("/v1/models", "x-api-key: k\r\nOrigin: https://evil.example\r\n")
            .header("access-control-allow-origin")
            .empty());
}

TEST_CASE("http: the access record says what happened", "[server][http]") {
  TestServer server({}, [](http::Server& s) {
    s.set_authoriser([](const http::Request&) { return http::AuthResult{true, "team-a"}; });
  });
  server.exchange(post("/v1/echo", "{\"a\":1}", "X-Request-Id: id-1\r\n"));
  server.get("/nothing");
  const auto records = server.records(2);
  REQUIRE(records.size() == 2);
  CHECK(records[0].request_id == "id-1");
  CHECK(records[0].method == "POST");
  CHECK(records[0].path == "/v1/echo");
  CHECK(records[0].remote == "127.0.0.1");
  CHECK(records[0].key_name == "team-a");
  CHECK(records[0].status == 200);
  CHECK(records[0].error_code.empty());
  CHECK(records[0].bytes_in == 7);
  CHECK(records[0].bytes_out > 7);
  CHECK_FALSE(records[0].aborted);
  CHECK(records[1].status == 404);
  CHECK(records[1].error_code == "unknown_url");
}

TEST_CASE("http: random damage of a request is answered or closed", "[server][http]") {
  const std::string requests[] = {
      head("GET /v1/models HTTP/1.1"), post("/v1/echo", "{\"a\":1}", "X-Request-Id: id-1\r\n"),
      "POST /v1/echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: "
      "chunked\r\n\r\n"
      "4\r\n{\"a\"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n",
      "GET /v1/events?3 HTTP/1.1\r\nHost: test\r\nAccept: */*\r\nConnection: close\r\n\r\n"};
  http::Limits limits;
  limits.head_timeout = limits.body_timeout = 200ms;
  TestServer server(limits);
  std::mt19937 random(20240607);
  int answered = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string sent = damaged(requests[static_cast<size_t>(i) % std::size(requests)], random);
    INFO("request " << i << ": " << sent);
    RawClient client(server.port, 5s);
    client.send(sent);
    client.finish_sending();
    const std::string reply = client.read_all();
    if (reply.empty()) continue;
    ++answered;
    REQUIRE(reply.starts_with("HTTP/1.1 "));
    const int status = std::stoi(reply.substr(9, 3));
    const bool ours = (status >= 200 && status < 500) || status == 501 || status == 505;
    REQUIRE((ours || status == 100));
  }
  CHECK(answered > 10'000);
  CHECK(server.eventually([&] { return server.server.open_connections() == 0; }));
  check_healthy(server);
}
