// Sockets: ownership, and I/O that always ends by a deadline. No HTTP here.
#pragma once
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

struct sockaddr_storage;

namespace qwend::http {

using SteadyClock = std::chrono::steady_clock;

// Owns a descriptor. Not thread-safe.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

enum class IoStatus { Ok, Closed, TimedOut };

// Sockets below are non-blocking; waiting is done in poll().

// Appends what has arrived, at most `max` bytes, waiting for the first byte until `deadline`. Closed: end of
// file or reset.
IoStatus receive(int fd, std::string& out, size_t max, SteadyClock::time_point deadline);
// As above without waiting: TimedOut when nothing is there.
IoStatus receive_now(int fd, std::string& out, size_t max);
// Sends all parts, in one packet where it fits. TimedOut when the peer accepts nothing for `stall`, Closed
// when it is gone; never raises SIGPIPE. At most 4 parts.
IoStatus send_all(int fd, std::initializer_list<std::string_view> parts, std::chrono::milliseconds stall);
// The peer has closed (either direction) or reset the connection. Does not wait and consumes nothing.
bool peer_gone(int fd);

// Binds (numeric address or name, IPv4 or IPv6, port 0: any) and listens. SO_REUSEADDR is on so that a
// restart needs no wait; SO_REUSEPORT stays off so that two servers can't share a port unnoticed. Throws
// std::runtime_error naming address, port and reason.
Fd listen_on(const std::string& host, int port, int backlog);
int local_port(int fd);
// "127.0.0.1", "::1"; IPv4 addresses mapped into IPv6 are shown as IPv4.
std::string address_text(const sockaddr_storage& address);

}  // namespace qwend::http
