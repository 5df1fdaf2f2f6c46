// Request bodies: the chunked coding, the memory budget, and reading under a total deadline.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/error.h"
#include "server/http/head.h"
#include "server/http/http_server.h"

namespace qwend::http {

// Bytes that bodies of all requests in flight may take together. Thread-safe.
class BodyBudget {
 public:
  explicit BodyBudget(size_t limit) : limit_(limit) {}
  bool take(size_t bytes);
  void give_back(size_t bytes) { used_.fetch_sub(bytes); }
  size_t used() const { return used_.load(); }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

// One request's share of the budget, given back at the end of the request. Grows with what has arrived, not
// with what Content-Length announces, so that announcing costs nobody anything.
class BodyLease {
 public:
  explicit BodyLease(BodyBudget& budget) : budget_(budget) {}
  BodyLease(const BodyLease&) = delete;
  ~BodyLease() { budget_.give_back(held_); }
  bool grow_to(size_t total);

 private:
  BodyBudget& budget_;
  size_t held_ = 0;
};

// Decodes the chunked transfer coding (RFC 9112 section 7.1) as bytes arrive. Extensions and trailers are
// skipped.
class ChunkedDecoder {
 public:
  enum class State { NeedMore, Done, Malformed, TooLarge };
  explicit ChunkedDecoder(size_t max_body) : max_body_(max_body) {}
  // Takes from the front of `in` and appends to `out`; `in` keeps what was not used (all that follows the
  // body when Done).
  State advance(std::string_view& in, std::string& out);

 private:
  enum class Phase { Size, Data, DataEnd, Trailer };
  static constexpr size_t kMaxLine = 1024;         // size and extensions
  static constexpr size_t kMaxTrailer = 16 << 10;  // all trailer lines

  std::optional<std::string_view> take_line(std::string_view& in, State& state);
  State start_chunk(std::string_view line, size_t body_size);

  const size_t max_body_;
  Phase phase_ = Phase::Size;
  uint64_t left_ = 0;  // of the chunk
  size_t trailer_bytes_ = 0;
  std::string partial_;  // a line split between two calls
  std::string line_;
};

struct BodyFailure {
  bool client_gone = false;  // nobody to answer
  HttpError error;
};

// Reads the body that `head` announces into `body`. `pending` holds bytes already received; afterwards those
// that follow the body. `received` counts bytes from the wire. Nothing on success.
std::optional<BodyFailure> read_body(int fd, const Head& head, const Limits& limits, BodyLease& lease,
                                     std::string& pending, std::string& body, size_t& received);

}  // namespace qwend::http
