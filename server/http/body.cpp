#include "server/http/body.h"

#include <algorithm>
#include <charconv>

#include "server/http/socket.h"

namespace qwend::http {

namespace {

constexpr size_t kReadSize = 64 << 10;

HttpError too_large(const Limits& limits) {
  return {413, "body_too_large", "The body is larger than " + std::to_string(limits.max_body) + " bytes."};
}

BodyFailure io_failure(IoStatus status, const Limits& limits) {
  if (status == IoStatus::Closed) return {true, {}};
  return {false,
          {408, "body_timeout",
           "The body did not arrive within " + std::to_string(limits.body_timeout.count()) + " ms."}};
}

const BodyFailure kOverBudget{
    false, {503, "overloaded", "Too many request bodies are being read.", {{"Retry-After", "1"}}}};

}  // namespace

bool BodyBudget::take(size_t bytes) {
  if (used_.fetch_add(bytes) + bytes <= limit_) return true;
  used_.fetch_sub(bytes);
  return false;
}

bool BodyLease::grow_to(size_t total) {
  if (total <= held_) return true;
  if (!budget_.take(total - held_)) return false;
  held_ = total;
  return true;
}

// A line without its CRLF, or nothing while it is incomplete (state NeedMore) or malformed.
std::optional<std::string_view> ChunkedDecoder::take_line(std::string_view& in, State& state) {
  const size_t newline = in.find('\n');
  const size_t used = newline == std::string_view::npos ? in.size() : newline + 1;
  partial_.append(in.substr(0, used));
  in.remove_prefix(used);
  state = State::NeedMore;
  if (partial_.size() > kMaxLine) state = State::Malformed;
  if (state == State::Malformed || newline == std::string_view::npos) return std::nullopt;
  if (partial_.size() < 2 || partial_[partial_.size() - 2] != '\r') {
    state = State::Malformed;
    return std::nullopt;
  }
  line_.assign(partial_, 0, partial_.size() - 2);
  partial_.clear();
  return line_;
}

ChunkedDecoder::State ChunkedDecoder::start_chunk(std::string_view line, size_t body_size) {
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  const size_t digits = static_cast<size_t>(end - line.data());
  const std::string_view rest = line.substr(digits);
  const bool extension = rest.empty() || rest.front() == ';' || rest.front() == ' ' || rest.front() == '\t';
  const bool printable =
      std::ranges::all_of(rest, [](char c) { return c == '\t' || (c >= ' ' && c != 0x7f); });
  // 16 digits hold any 64-bit size; from_chars itself would take a sign.
  if (error != std::errc() || digits > 16 || line.front() == '-' || !extension || !printable)
    return State::Malformed;
  if (size > max_body_ - body_size) return State::TooLarge;
  left_ = size;
  phase_ = size == 0 ? Phase::Trailer : Phase::Data;
  return State::NeedMore;
}

ChunkedDecoder::State ChunkedDecoder::advance(std::string_view& in, std::string& out) {
  State state = State::NeedMore;
  while (state == State::NeedMore && !in.empty()) {
    if (phase_ == Phase::Data) {
      const size_t step = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
      out.append(in.substr(0, step));
      in.remove_prefix(step);
      left_ -= step;
      if (left_ == 0) phase_ = Phase::DataEnd;
      continue;
    }
    const size_t before = in.size();
    const auto line = take_line(in, state);
    if (phase_ == Phase::Trailer) {
      trailer_bytes_ += before - in.size();
      if (trailer_bytes_ > kMaxTrailer) state = State::Malformed;
    }
    if (!line || state != State::NeedMore) continue;
    if (phase_ == Phase::Size) {
      state = start_chunk(*line, out.size());
    } else if (phase_ == Phase::DataEnd) {
      phase_ = Phase::Size;
      if (!line->empty()) state = State::Malformed;
    } else if (line->empty()) {
      state = State::Done;
    }
  }
  return state;
}

namespace {

std::optional<BodyFailure> read_chunked(int fd, const Limits& limits, SteadyClock::time_point deadline,
                                        BodyLease& lease, std::string& pending, std::string& body,
                                        size_t& received) {
  ChunkedDecoder decoder(limits.max_body);
  for (;;) {
    received += pending.size();
    std::string_view in = pending;
    // Appending `in` may double the body's memory at most.
    if (body.size() + in.size() > body.capacity()) {
      if (!lease.grow_to(2 * (body.size() + in.size()))) return kOverBudget;
    }
    const auto state = decoder.advance(in, body);
    pending.erase(0, pending.size() - in.size());
    if (state == ChunkedDecoder::State::Done) {
      received -= pending.size();
      return std::nullopt;
    }
    if (state == ChunkedDecoder::State::TooLarge) return BodyFailure{false, too_large(limits)};
    if (state == ChunkedDecoder::State::Malformed) {
      return BodyFailure{false, {400, "invalid_http", "The chunked body is malformed."}};
    }
    const IoStatus status = receive(fd, pending, kReadSize, deadline);
    if (status != IoStatus::Ok) return io_failure(status, limits);
  }
}

std::optional<BodyFailure> read_counted(int fd, size_t length, const Limits& limits,
                                        SteadyClock::time_point deadline, BodyLease& lease,
                                        std::string& pending, std::string& body, size_t& received) {
  const size_t buffered = std::min(length, pending.size());
  body.assign(pending, 0, buffered);
  pending.erase(0, buffered);
  if (!lease.grow_to(body.size())) return kOverBudget;
  while (body.size() < length) {
    if (body.size() == body.capacity() || body.empty()) {  // memory follows what has arrived, doubling
      const size_t capacity = std::min(length, std::max(kReadSize, 2 * body.size()));
      if (!lease.grow_to(capacity)) return kOverBudget;
      body.reserve(capacity);
    }
    const size_t step = std::min({length, body.capacity()}) - body.size();
    const IoStatus status = receive(fd, body, std::min(step, kReadSize), deadline);
    if (status != IoStatus::Ok) {
      received = body.size();
      return io_failure(status, limits);
    }
  }
  received = length;
  return std::nullopt;
}

}  // namespace

std::optional<BodyFailure> read_body(int fd, const Head& head, const Limits& limits, BodyLease& lease,
                                     std::string& pending, std::string& body, size_t& received) {
  const auto deadline = SteadyClock::now() + limits.body_timeout;
  if (head.chunked) return read_chunked(fd, limits, deadline, lease, pending, body, received);
  if (head.content_length.value_or(0) > limits.max_body) return BodyFailure{false, too_large(limits)};
  return read_counted(fd, static_cast<size_t>(head.content_length.value_or(0)), limits, deadline, lease,
                      pending, body, received);
}

}  // namespace qwend::http
