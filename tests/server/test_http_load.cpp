// Time, quantity and endings: slow and vanishing clients, limits, shutting down.
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "tests/server/http_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

size_t count_entries(const char* folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}
size_t open_files() { return count_entries("/proc/self/fd"); }
size_t num_threads() { return count_entries("/proc/self/task"); }

// As many descriptors as the system allows, until the end of the scope.
class MostDescriptors {
 public:
  MostDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit wide = before_;
    wide.rlim_cur = wide.rlim_max;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &wide) == 0);
  }
  size_t left() const { return before_.rlim_max - open_files(); }
  ~MostDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  MostDescriptors(const MostDescriptors&) = delete;
  MostDescriptors& operator=(const MostDescriptors&) = delete;

 private:
  rlimit before_{};
};

const std::string kGetModels = "GET /v1/models HTTP/1.1\r\nHost: test\r\n\r\n";

}  // namespace

TEST_CASE("http load: a dripping head ends in 408 within its total time", "[server][http]") {
  http::Limits limits;
  limits.head_timeout = 400ms;
  TestServer server(limits);
  RawClient client(server.port);
  const auto start = std::chrono::steady_clock::now();
  for (char c :
       std::string("GET /v1/models HTTP/1.1\r\nHost: test\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")) {
    if (!client.send({&c, 1})) break;
    std::this_thread::sleep_for(20ms);
  }
  check_error(client.expect_response(), 408, "head_timeout");
  CHECK(std::chrono::steady_clock::now() - start < 8s);
}

TEST_CASE("http load: a dripping body ends in 408 within its total time", "[server][http]") {
  http::Limits limits;
  limits.body_timeout = 400ms;
  TestServer server(limits);
  for (const char* framing : {"Content-Length: 100", "Transfer-Encoding: chunked"}) {
    RawClient client(server.port);
    client.send("POST /v1/echo HTTP/1.1\r\nHost: test\r\n" + std::string(framing) + "\r\n\r\n");
    for (int i = 0; i < 15; ++i) {
      if (!client.send(framing[0] == 'C' ? "x" : "1\r\nx\r\n")) break;
      std::this_thread::sleep_for(40ms);
    }
    check_error(client.expect_response(), 408, "body_timeout");
  }
}

TEST_CASE("http load: idle connections are closed without a word", "[server][http]") {
  http::Limits limits;
  limits.head_timeout = 1s;
  limits.keep_alive = 1s;
  TestServer server(limits);
  RawClient fresh(server.port), used(server.port);
  used.send(kGetModels);
  CHECK(used.expect_response().header("keep-alive") == "timeout=1");
  CHECK(used.closed_by_server());
  CHECK(fresh.closed_by_server());
  CHECK(server.eventually([&] { return server.server.open_connections() == 0; }));
}

TEST_CASE("http load: 413 reaches a client that sends its whole body first", "[server][http]") {
  http::Limits limits;
  limits.max_body = 1000;
  TestServer server(limits);
  const std::string body(3'000'000, 'x');
  RawClient announced(server.port);
  announced.send(post("/v1/echo", body));
  check_error(announced.expect_response(), 413, "body_too_large");
  RawClient chunked(server.port);
  chunked.send("POST /v1/echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 100; ++i) chunked.send("64\r\n" + std::string(100, 'x') + "\r\n");
  check_error(chunked.expect_response(), 413, "body_too_large");
}

TEST_CASE("http load: bodies in flight are limited together", "[server][http]") {
  http::Limits limits;
  limits.max_inflight_bodies = 1 << 20;
  TestServer server(limits);
  RawClient first(server.port);
  const std::string body = "\"" + std::string(900'000, 'a') + "\"";
  first.send("POST /v1/echo HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
             "\r\n\r\n");
  first.send(std::string_view(body).substr(0, body.size() - 1));
  std::this_thread::sleep_for(200ms);
  const RawResponse refused = server.exchange(post("/v1/echo", body));
  check_error(refused, 503, "overloaded");
  CHECK(refused.header("retry-after") == "1");
  first.send("\"");
  CHECK(first.expect_response().body == body);
  CHECK(server.exchange(post("/v1/echo", body)).body == body);  // given back
}

TEST_CASE("http load: a reset in the middle of a body leaves nothing behind", "[server][http]") {
  TestServer server;
  RawClient client(server.port);
  client.send("POST /v1/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf");
  std::this_thread::sleep_for(50ms);
  client.reset();
  const auto records = server.records(1);
  REQUIRE(records.size() == 1);
  CHECK(records[0].status == 499);
  CHECK(records[0].aborted);
  CHECK(server.eventually([&] { return server.server.open_connections() == 0; }));
}

TEST_CASE("http load: a handler learns that its client is gone", "[server][http]") {
  TestServer server;
  RawClient closing(server.port), resetting(server.port);
  for (RawClient* client : {&closing, &resetting})
    client->send("GET /v1/wait HTTP/1.1\r\nHost: test\r\n\r\n");
  REQUIRE(server.eventually([&] { return server.active_streams == 2; }));
  std::this_thread::sleep_for(50ms);
  CHECK(server.clients_gone == 0);
  closing.close();
  resetting.reset();
  CHECK(server.eventually([&] { return server.clients_gone == 2 && server.server.open_connections() == 0; }));
  const auto records = server.records(2);
  REQUIRE(records.size() == 2);
  CHECK(records[0].status == 499);
}

TEST_CASE("http load: a reader that stalls is given up, others go on", "[server][http]") {
  http::Limits limits;
  limits.write_stall = 500ms;
  TestServer server(limits);
  std::vector<RawClient> stalled;
  for (int i = 0; i < 30; ++i) {
    stalled.emplace_back(server.port);
    stalled.back().send("GET /v1/flood HTTP/1.1\r\nHost: test\r\n\r\n");
  }
  REQUIRE(server.eventually([&] { return server.active_streams + server.clients_gone == 30; }));
  for (int i = 0; i < 5; ++i) CHECK(server.get("/v1/events?20").complete);
  CHECK(server.eventually([&] { return server.clients_gone == 30; }));
}

TEST_CASE("http load: connections beyond the limit get 503, health is served", "[server][http]") {
  http::Limits limits;
  limits.max_connections = 3;
  limits.reserved_connections = 2;
  TestServer server(limits);
  std::vector<RawClient> busy;
  for (int i = 0; i < 3; ++i) {
    busy.emplace_back(server.port);
    busy.back().send("GET /v1/wait HTTP/1.1\r\nHost: test\r\n\r\n");
  }
  REQUIRE(server.eventually([&] { return server.active_streams == 3; }));
  const RawResponse refused = server.get("/v1/models");
  check_error(refused, 503, "overloaded");
  CHECK(refused.header("retry-after") == "1");
  const RawResponse health = server.get("/health");
  CHECK(health.status == 200);
  CHECK(health.header("connection") == "close");
  {  // the reserved lane is taken too: told at once
    REQUIRE(server.eventually([&] { return server.server.open_connections() == 3; }));
    RawClient a(server.port), b(server.port);
    REQUIRE(server.eventually([&] { return server.server.open_connections() == 5; }));
    RawClient c(server.port);
    check_error(c.expect_response(), 503, "overloaded");
  }
  busy.clear();
  REQUIRE(server.eventually([&] { return server.server.open_connections() == 0; }));
  CHECK(server.get("/v1/models").status == 200);
}

TEST_CASE("http load: at the limit, long-idle connections make room", "[server][http]") {
  http::Limits limits;
  limits.max_connections = 2;
  limits.reserved_connections = 0;
  limits.keep_alive = 30s;
  limits.head_timeout = 30s;
  TestServer server(limits);
  RawClient older(server.port), newer(server.port);
  older.send(kGetModels);
  older.expect_response();
  std::this_thread::sleep_for(1100ms);
  newer.send(kGetModels);
  newer.expect_response();
  CHECK(server.get("/v1/models").status == 200);
  CHECK(older.closed_by_server());
  newer.send(kGetModels);
  CHECK(newer.expect_response().status == 200);
}

TEST_CASE("http load: 10,000 clients connect and reset", "[server][http]") {
  TestServer server;
  server.get("/health");
  const size_t files = open_files();
  for (int i = 0; i < 10'000; ++i) {
    RawClient client(server.port);
    if (i % 3 == 1) client.send("GET /v1/mod");
    if (i % 3 == 2) client.send("GET /v1/events?100 HTTP/1.1\r\nHost: test\r\n\r\n");
    client.reset();
  }
  CHECK(
      server.eventually([&] { return server.server.open_connections() == 0 && server.active_streams == 0; }));
  CHECK(server.get("/health").status == 200);
  CHECK(server.eventually([&] { return open_files() <= files + 2; }));
}

TEST_CASE("http load: 2,000 idle connections take no thread and delay nobody", "[server][http]") {
  const MostDescriptors descriptors;
  const int num_idle = static_cast<int>(std::min<size_t>(2000, (descriptors.left() - 100) / 2));  // both ends
  REQUIRE(num_idle >= 500);
  http::Limits limits;
  limits.max_connections = num_idle + 100;
  TestServer server(limits);
  const size_t threads = num_threads();
  std::vector<RawClient> idle;
  for (int i = 0; i < num_idle; ++i) {
    idle.emplace_back(server.port);
    if (i % 2 == 0) {
      idle.back().send(kGetModels);
      REQUIRE(idle.back().expect_response().status == 200);
    }
  }
  REQUIRE(server.eventually([&] { return server.server.open_connections() == num_idle; }));
  CHECK(num_threads() <= threads + 16);  // handlers of the requests above, as many as happened to overlap
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) REQUIRE(server.get("/health").status == 200);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
  for (RawClient& client : idle) {
    client.send(kGetModels);
    REQUIRE(client.expect_response().body == "[]");
  }
}

TEST_CASE("http load: running out of descriptors does not end the listener", "[server][http]") {
  TestServer server;
  server.get("/health");
  std::vector<RawClient> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(RawClient::Unconnected());
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit tight = before;
  tight.rlim_cur = open_files() + 3;  // room for a few of the twenty
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  for (RawClient& client : clients) {
    client.connect(server.port);
    client.send(kGetModels);
  }
  std::this_thread::sleep_for(200ms);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  for (RawClient& client : clients) CHECK(client.expect_response().body == "[]");
}

TEST_CASE("http load: a port is never shared", "[server][http]") {
  TestServer server;
  http::Server second{http::Limits()};
  CHECK_THROWS_WITH(second.bind("127.0.0.1", server.port),
                    Catch::Contains("cannot listen on 127.0.0.1:") && Catch::Contains("in use"));
  CHECK_THROWS_WITH(second.bind("127.0.0.1", 70'000), Catch::Contains("no such port"));
  CHECK_THROWS_WITH(second.bind("not an address", 0), Catch::Contains("cannot listen on not an address:0"));
}

TEST_CASE("http load: IPv6", "[server][http]") {
  http::Server server{http::Limits()};
  server.open_route("GET", "/peer", [](const http::Request& request, http::Responder& out) {
    out.reply(200, "text/plain", request.remote);
  });
  int port = 0;
  try {
    port = server.bind("::", 0);
  } catch (const std::runtime_error& error) {
    WARN("skipped, no IPv6 here: " << error.what());
    return;
  }
  std::thread thread([&] { server.run(); });
  RawClient mapped(port);
  mapped.send("GET /peer HTTP/1.1\r\nHost: test\r\n\r\n");
  CHECK(mapped.expect_response().body == "127.0.0.1");
  server.stop(0ms);
  thread.join();
}

TEST_CASE("http drain: running streams end whole, new connections are refused", "[server][http]") {
  TestServer server;
  std::vector<RawClient> clients;
  RawClient idle(server.port);
  idle.send(kGetModels);
  idle.expect_response();
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server.port);
    clients.back().send("GET /v1/events?150 HTTP/1.1\r\nHost: test\r\n\r\n");
  }
  REQUIRE(server.eventually([&] { return server.active_streams == 20; }));
  server.server.stop(20s);
  CHECK(idle.closed_by_server());
  CHECK_THROWS(RawClient(server.port));
  for (RawClient& client : clients) {
    const RawResponse response = client.expect_response();
    CHECK(response.complete);
    CHECK(response.body.ends_with("data: 149\n\n"));
    CHECK(client.closed_by_server());
  }
  const auto start = std::chrono::steady_clock::now();
  server.stop(0ms);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
  CHECK(server.cut_streams == 0);
}

TEST_CASE("http drain: after the grace time streams are told, then cut", "[server][http]") {
  TestServer server;
  std::vector<RawClient> listening, deaf;
  for (int i = 0; i < 5; ++i) {
    listening.emplace_back(server.port);
    listening.back().send("GET /v1/events?100000 HTTP/1.1\r\nHost: test\r\n\r\n");
    deaf.emplace_back(server.port);  // its handler sits in write() and can't look at shutting_down()
    deaf.back().send("GET /v1/flood HTTP/1.1\r\nHost: test\r\n\r\n");
  }
  RawClient waiting(server.port), half(server.port);
  waiting.send("GET /v1/wait HTTP/1.1\r\nHost: test\r\n\r\n");
  half.send("GET /v1/wa");
  REQUIRE(server.eventually([&] { return server.active_streams == 11; }));
  const auto start = std::chrono::steady_clock::now();
  server.stop(100ms);
  CHECK(std::chrono::steady_clock::now() - start < 8s);
  for (RawClient& client : listening) {
    const RawResponse response = client.expect_response();
    CHECK(response.complete);
    CHECK(response.body.ends_with("data: {\"error\":{\"code\":\"draining\"}}\n\n"));
  }
  CHECK(waiting.expect_response().status == 503);
  CHECK(half.closed_by_server());
  CHECK(server.active_streams == 0);
}

TEST_CASE("http: while the model loads, only the process is known to live", "[server][http]") {
  TestServer server({}, [](http::Server& s) { s.set_loading(true); });
  CHECK(server.get("/livez").status == 200);
  for (const char* path : {"/health", "/v1/models", "/unknown"}) {
    const RawResponse response = server.get(path);
    check_error(response, 503, "loading");
    CHECK(response.header("retry-after") == "5");
  }
  server.server.set_loading(false);
  CHECK(server.get("/health").status == 200);
  CHECK(server.get("/v1/models").body == "[]");
}
