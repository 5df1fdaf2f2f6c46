// A client that says exactly what a test tells it to, byte by byte: raw sockets on 127.0.0.1, no HTTP
// library.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace qwend::test {

struct RawResponse {
  int status = 0;
  std::string status_line;
  std::multimap<std::string, std::string> headers;  // names in lower case
  std::string body;                                 // chunks joined
  bool complete = true;                             // false: the connection ended within the body
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// One connection. Every wait ends after `patience`. Not thread-safe.
class RawClient {
 public:
  explicit RawClient(int port, std::chrono::milliseconds patience = std::chrono::seconds(20))
      : patience_(patience) {
    open_socket();
    connect(port);
  }
  struct Unconnected {};
  explicit RawClient(Unconnected) : patience_(std::chrono::seconds(10)) { open_socket(); }
  RawClient(RawClient&& other) noexcept
      : patience_(other.patience_), fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}
  ~RawClient() { close(); }

  void connect(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("connect failed");
    }
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // Ends the connection with a reset instead of an end of file.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }
  void shrink_receive_buffer(int bytes) { ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); }

  // False when the server has closed the connection.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Nothing at end of file, reset or when patience runs out before a whole head has come.
  std::optional<RawResponse> read_response(bool head_only = false) {
    while (buffer_.find("\r\n\r\n") == std::string::npos) {
      if (!receive()) return std::nullopt;
    }
    RawResponse response = parse_head();
    if (head_only || response.status == 204 || response.status == 100) return response;
    if (response.header("transfer-encoding") == "chunked") {
      response.complete = read_chunks(response.body);
    } else if (response.headers.contains("content-length")) {
      const size_t length = std::stoul(response.header("content-length"));
      response.complete = need(length);
      response.body = take(std::min(length, buffer_.size()));
    } else {
      while (receive()) {
      }
      response.body = take(buffer_.size());
    }
    return response;
  }
  RawResponse expect_response(bool head_only = false) {
    auto response = read_response(head_only);
    if (!response) throw std::runtime_error("no response");
    return *response;
  }
  // Waits until at least `bytes` more have come (false: closed or out of patience); they stay for
  // read_response().
  bool need(size_t bytes) {
    while (buffer_.size() < bytes) {
      if (!receive()) return false;
    }
    return true;
  }
  // The server has closed this connection (or does so within patience) without sending anything more.
  bool closed_by_server() { return buffer_.empty() && !receive() && !out_of_patience_; }
  std::string read_all() {
    while (receive()) {
    }
    return take(buffer_.size());
  }

 private:
  void open_socket() {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0) throw std::runtime_error("socket failed");
  }
  bool receive() {
    pollfd entry{fd_, POLLIN, 0};
    out_of_patience_ = ::poll(&entry, 1, static_cast<int>(patience_.count())) <= 0;
    if (out_of_patience_) return false;
    char bytes[65536];
    const ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(got));
    return true;
  }
  std::string take(size_t bytes) {
    std::string taken = buffer_.substr(0, bytes);
    buffer_.erase(0, bytes);
    return taken;
  }
  std::optional<std::string> take_line() {
    size_t end;
    while ((end = buffer_.find("\r\n")) == std::string::npos) {
      if (!receive()) return std::nullopt;
    }
    std::string line = take(end);
    take(2);
    return line;
  }
  RawResponse parse_head() {
    RawResponse response;
    response.status_line = *take_line();
    response.status = std::atoi(response.status_line.c_str() + 9);
    for (std::string line = *take_line(); !line.empty(); line = *take_line()) {
      const size_t colon = line.find(": ");
      std::string name = line.substr(0, colon);
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      response.headers.emplace(name, line.substr(colon + 2));
    }
    return response;
  }
  bool read_chunks(std::string& body) {
    for (;;) {
      const auto line = take_line();
      if (!line) return false;
      const size_t size = std::stoul(*line, nullptr, 16);
      if (!need(size + 2)) {
        body += take(buffer_.size());
        return false;
      }
      body += take(size);
      if (take(2) != "\r\n") return false;
      if (size == 0) return true;
    }
  }

  std::chrono::milliseconds patience_;
  int fd_ = -1;
  std::string buffer_;
  bool out_of_patience_ = false;
};

}  // namespace qwend::test
