#include "server/http/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "kernels/check.h"

namespace qwend::http {

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {

// Waits until `fd` is ready for `events` (or broken). False at the deadline.
bool wait_ready(int fd, short events, SteadyClock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<long long>(left, 0, 3'600'000)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
    if (ready < 0 && errno != EINTR) return true;  // the read or write that follows reports it
  }
}

}  // namespace

IoStatus receive_now(int fd, std::string& out, size_t max) {
  const size_t old_size = out.size();
  out.resize(old_size + max);
  ssize_t got;
  do {
    got = ::recv(fd, out.data() + old_size, max, 0);
  } while (got < 0 && errno == EINTR);
  const int error = errno;
  out.resize(old_size + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got > 0) return IoStatus::Ok;
  if (got < 0 && (error == EAGAIN || error == EWOULDBLOCK)) return IoStatus::TimedOut;
  return IoStatus::Closed;
}

IoStatus receive(int fd, std::string& out, size_t max, SteadyClock::time_point deadline) {
  for (;;) {
    if (SteadyClock::now() >= deadline) return IoStatus::TimedOut;  // even if bytes keep dripping in
    const IoStatus status = receive_now(fd, out, max);
    if (status != IoStatus::TimedOut) return status;
    if (!wait_ready(fd, POLLIN, deadline)) return IoStatus::TimedOut;
  }
}

IoStatus send_all(int fd, std::initializer_list<std::string_view> parts, std::chrono::milliseconds stall) {
  std::array<iovec, 4> vectors;
  CHECK(parts.size() <= vectors.size());
  size_t count = 0;
  for (std::string_view part : parts) {
    if (!part.empty()) vectors[count++] = {const_cast<char*>(part.data()), part.size()};
  }
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = count;
  while (message.msg_iovlen > 0) {
    ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return IoStatus::Closed;
      if (!wait_ready(fd, POLLOUT, SteadyClock::now() + stall)) return IoStatus::TimedOut;
      continue;
    }
    while (sent > 0) {  // a short write: go on where it stopped
      iovec& front = *message.msg_iov;
      const size_t step = std::min(static_cast<size_t>(sent), front.iov_len);
      front.iov_base = static_cast<char*>(front.iov_base) + step;
      front.iov_len -= step;
      sent -= static_cast<ssize_t>(step);
      if (front.iov_len == 0) {
        ++message.msg_iov;
        --message.msg_iovlen;
      }
    }
  }
  return IoStatus::Ok;
}

bool peer_gone(int fd) {
  pollfd entry{fd, POLLIN | POLLRDHUP, 0};
  if (::poll(&entry, 1, 0) <= 0) return false;
  return (entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

Fd listen_on(const std::string& host, int port, int backlog) {
  const std::string where =
      (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (port < 0 || port > 65'535) throw std::runtime_error("cannot listen on " + where + ": no such port");
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
      error != 0) {
    throw std::runtime_error("cannot listen on " + where + ": " + ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  int error = 0;
  for (const addrinfo* entry = addresses.get(); entry != nullptr; entry = entry->ai_next) {
    Fd fd(::socket(entry->ai_family, entry->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, entry->ai_protocol));
    const int on = 1, off = 0;
    if (fd) {
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      // "::" also takes IPv4 clients, as they expect of "all addresses".
      if (entry->ai_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
      if (::bind(fd.get(), entry->ai_addr, entry->ai_addrlen) == 0 && ::listen(fd.get(), backlog) == 0)
        return fd;
    }
    error = errno;
  }
  throw std::runtime_error("cannot listen on " + where + ": " + std::generic_category().message(error));
}

int local_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return -1;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
      ::inet_ntop(AF_INET, v6.s6_addr + 12, text, sizeof text);
    } else {
      ::inet_ntop(AF_INET6, &v6, text, sizeof text);
    }
  } else if (address.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
  }
  return text;
}

}  // namespace qwend::http
