// A server with toy routes, for the transport's tests.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "server/http/http_server.h"
#include "tests/support/catch2.h"
#include "tests/support/raw_client.h"

namespace qwend::test {

using namespace std::chrono_literals;

// Runs a server on a free port until the end of the scope. Routes:
//   GET /v1/models            "[]"                  GET /v1/models/{id}   the id
//   POST /v1/echo             the body              POST /v1/length       the body's size
//   GET /v1/events?N          N events              GET /v1/flood         a stream until the client is gone
//   GET /v1/wait              until client_gone() or shutting_down()
//   POST /v1/throw            throws                GET /v1/throw-late    throws after one event
//   GET /v1/silent            returns without reply
//   GET /health               open                  GET /                 "root"
class TestServer {
 public:
  using Configure = std::function<void(http::Server&)>;
  explicit TestServer(http::Limits limits = {}, const Configure& configure = {}) : server(limits) {
    add_routes();
    server.set_access_log([this](const http::AccessRecord& record) {
      const std::lock_guard lock(mutex_);
      records_.push_back(record);
    });
    if (configure) configure(server);
    port = server.bind("127.0.0.1", 0);
    thread_ = std::thread([this] { server.run(); });
  }
  ~TestServer() { stop(0ms); }
  void stop(std::chrono::milliseconds grace) {
    if (!thread_.joinable()) return;
    server.stop(grace);
    thread_.join();
  }

  // Sends `bytes` on a fresh connection and reads one response.
  RawResponse exchange(std::string_view bytes) {
    RawClient client(port);
    client.send(bytes);
    return client.expect_response();
  }
  RawResponse get(const std::string& path, const std::string& headers = "") {
    return exchange("GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
  }
  // Access records so far; waits until there are at least `count`.
  std::vector<http::AccessRecord> records(size_t count) {
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (records_.size() >= count) return records_;
      }
      std::this_thread::sleep_for(10ms);
    }
    return {};
  }
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 500 && !condition(); ++i) std::this_thread::sleep_for(10ms);
    return condition();
  }

  http::Server server;
  int port = 0;
  std::atomic<int> clients_gone{0}, cut_streams{0}, active_streams{0};

 private:
  void add_routes();

  std::thread thread_;
  std::mutex mutex_;
  std::vector<http::AccessRecord> records_;
};

inline std::string post(const std::string& path, const std::string& body, const std::string& headers = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// The response is an error of this status and code, in OpenAI's shape.
inline void check_error(const RawResponse& response, int status, const std::string& code) {
  CHECK(response.status == status);
  CHECK(response.header("content-type") == "application/json");
  CHECK_FALSE(response.header("x-request-id").empty());
  const auto body = nlohmann::json::parse(response.body, nullptr, false);
  REQUIRE(body.is_object());
  const auto& error = body["error"];
  CHECK(error.size() == 4);
  CHECK(error["message"].is_string());
  CHECK(error["type"] == (status >= 500 ? "server_error" : "invalid_request_error"));
  CHECK(error["param"].is_null());
  CHECK(error["code"] == code);
}

inline void TestServer::add_routes() {
  using http::Request;
  using http::Responder;
  const auto text = [](std::string body) {
    return [body](const Request&, Responder& out) { out.reply(200, "text/plain", body); };
  };
  server.route("GET", "/", text("root"));
  server.open_route("GET", "/health", text("ok"));
  server.route("GET", "/v1/models", text("[]"));
  server.route("GET", "/v1/models/{id}", [](const Request& request, Responder& out) {
    out.reply(200, "text/plain", request.path_params.at(0));
  });
  server.route("POST", "/v1/echo", [](const Request& request, Responder& out) {
    out.reply(200, "application/json", request.body);
  });
  server.route("POST", "/v1/length", [](const Request& request, Responder& out) {
    out.reply(200, "text/plain", std::to_string(request.body.size()));
  });
  server.route("GET", "/v1/events", [this](const Request& request, Responder& out) {
    ++active_streams;
    out.start_stream("text/event-stream");
    for (int i = 0; i < std::stoi(request.query); ++i) {
      if (out.shutting_down()) {
        ++cut_streams;
        out.write("data: {\"error\":{\"code\":\"draining\"}}\n\n");
        break;
      }
      if (!out.write("data: " + std::to_string(i) + "\n\n")) break;
      std::this_thread::sleep_for(2ms);
    }
    out.end_stream();
    --active_streams;
  });
  server.route("GET", "/v1/flood", [this](const Request&, Responder& out) {
    ++active_streams;
    out.start_stream("text/event-stream");
    const std::string event = "data: " + std::string(4000, 'x') + "\n\n";
    while (out.write(event)) {
    }
    ++clients_gone;
    --active_streams;
  });
  server.route("GET", "/v1/wait", [this](const Request&, Responder& out) {
    ++active_streams;
    while (!out.client_gone() && !out.shutting_down()) std::this_thread::sleep_for(2ms);
    if (out.client_gone()) {
      ++clients_gone;
    } else {
      out.reply(503, "text/plain", "cut");
    }
    --active_streams;
  });
  server.route("POST", "/v1/throw",
               [](const Request&, Responder&) { throw std::runtime_error("secret detail"); });
  server.route("GET", "/v1/throw-late", [](const Request&, Responder& out) {
    out.start_stream("text/event-stream");
    out.write("data: 1\n\n");
    throw std::runtime_error("secret detail");
  });
  server.route("GET", "/v1/silent", [](const Request&, Responder&) {});
}

}  // namespace qwend::test
