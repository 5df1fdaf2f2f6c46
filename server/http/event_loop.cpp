#include "server/http/event_loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "kernels/check.h"

namespace qwend::http {

namespace {

constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr size_t kMaxLingering = 256;                         // more are closed at once
constexpr int kAcceptBatch = 64;                              // then others get their turn
constexpr auto kAcceptPause = std::chrono::milliseconds(50);  // when descriptors or memory run out
constexpr auto kEvictableAfter = std::chrono::seconds(1);  // a connection idle for less may be about to send
constexpr auto kCutTime = std::chrono::seconds(1);         // for handlers to say goodbye
constexpr size_t kMinWorkers = 2;

Fd checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
  return Fd(fd);
}

}  // namespace

EventLoop::EventLoop(ServerContext& context, Fd listener)
    : context_(context),
      listener_(std::move(listener)),
      epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wake_event_(checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")),
      next_scan_(SteadyClock::now()),
      pool_(kMinWorkers,
            static_cast<size_t>(context.limits.max_connections + context.limits.reserved_connections)) {
  for (auto* list : {&served_, &being_taken_}) {
    list->reserve(static_cast<size_t>(context.limits.max_connections + context.limits.reserved_connections));
  }
  for (const Fd* fd : {&listener_, &wake_event_}) {
    epoll_event event{EPOLLIN, {.ptr = const_cast<Fd*>(fd)}};
    CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd->get(), &event) == 0);
  }
}

EventLoop::~EventLoop() { CHECK(num_serving_ == 0); }

void EventLoop::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_event_.get(), &one, sizeof one);
}

void EventLoop::stop(std::chrono::milliseconds grace) {
  const auto at = SteadyClock::now() + grace;
  {
    const std::lock_guard lock(mutex_);
    stop_at_ = stop_at_ ? std::min(*stop_at_, at) : at;
  }
  wake();
}

void EventLoop::run() {
  while (!drained(SteadyClock::now())) {
    try {
      wait_and_handle();
    } catch (const std::exception& error) {  // out of memory: that connection is lost, the listener is not
      spdlog::error("http event loop: {}", error.what());
    }
  }
  while (!slots_.empty()) close(*slots_.begin()->second);
}

void EventLoop::wait_and_handle() {
  std::array<epoll_event, 128> events;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next_scan_ - SteadyClock::now()).count();
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(std::clamp<long long>(wait, 0, 500)));
  bool acceptable = false;
  // Each slot's event can end only that slot; accepting and taking back can end others, so they come after.
  for (int i = 0; i < count; ++i) {
    void* const data = events[static_cast<size_t>(i)].data.ptr;
    if (data == &listener_) {
      acceptable = true;
    } else if (data == &wake_event_) {
      uint64_t value;
      [[maybe_unused]] const ssize_t got = ::read(wake_event_.get(), &value, sizeof value);
    } else {
      on_readable(*static_cast<Slot*>(data));
    }
  }
  take_back_served();
  if (acceptable) accept_all();
  if (const auto now = SteadyClock::now(); now >= next_scan_) expire(now);
}

// Watches for the next readiness only: a connection being served stays silent without another system call.
bool EventLoop::watch(Slot& slot, int operation) {
  epoll_event event{EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, {.ptr = &slot}};
  return ::epoll_ctl(epoll_.get(), operation, slot.connection->fd(), &event) == 0;
}

void EventLoop::watch_again(Slot& slot) {
  if (!watch(slot, EPOLL_CTL_MOD)) close(slot);
}

void EventLoop::accept_all() {
  for (int i = 0; i < kAcceptBatch && listener_; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    Fd fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      accept_one(std::move(fd), address_text(address));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      spdlog::warn("cannot accept a connection: {}", std::generic_category().message(errno));
      evict_idle();
      return pause_accepting();
    }
    // ECONNABORTED, EPROTO and the like concern one connection that is gone already: on with the next.
  }
}

// The listener stays readable while nothing can be accepted; watching it would spin.
void EventLoop::pause_accepting() {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  resume_accepting_ = SteadyClock::now() + kAcceptPause;
  next_scan_ = std::min(next_scan_, *resume_accepting_);
}

void EventLoop::accept_one(Fd fd, std::string remote) {
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (open_.load() >= context_.limits.max_connections) evict_idle();
  const int others = open_.load();
  const bool reserved = others >= context_.limits.max_connections;
  const bool full = others >= context_.limits.max_connections + context_.limits.reserved_connections;
  if (full && num_lingering_ >= kMaxLingering) return;  // closes it

  auto owner = std::make_unique<Slot>();
  Slot& slot = *owner;
  slot.connection = std::make_unique<Connection>(std::move(fd), context_, std::move(remote), reserved);
  if (!watch(slot, EPOLL_CTL_ADD)) return;
  slots_.emplace(&slot, std::move(owner));
  ++open_;
  if (full) {
    slot.connection->refuse(kTooManyConnections);
    return linger(slot);
  }
  slot.since = SteadyClock::now();
  slot.deadline = slot.since + context_.limits.head_timeout;
  next_scan_ = std::min(next_scan_, slot.deadline);
}

void EventLoop::on_readable(Slot& slot) {
  Connection& connection = *slot.connection;
  if (slot.state == State::Lingering) {
    IoStatus status = IoStatus::Ok;
    for (int i = 0; i < 16 && status == IoStatus::Ok; ++i) status = connection.discard();
    return status == IoStatus::Closed ? close(slot) : watch_again(slot);
  }
  const bool was_idle = connection.idle();
  const IoStatus status = connection.fill();
  if (status == IoStatus::Closed) return close(slot);
  if (connection.parse() != HeadParser::State::NeedMore) return serve(slot);
  if (was_idle &&
      connection.started()) {  // a next head begins; the first one's time counts from the connection's start
    slot.deadline = SteadyClock::now() + context_.limits.head_timeout;
    next_scan_ = std::min(next_scan_, slot.deadline);
  }
  watch_again(slot);
}

void EventLoop::serve(Slot& slot) {
  auto job = [this, &slot] {
    Connection::After after = Connection::After::Close;
    try {
      after = slot.connection->serve();
    } catch (const std::exception& error) {
      spdlog::error("http connection: {}", error.what());
    }
    {
      const std::lock_guard lock(mutex_);
      served_.emplace_back(&slot, after);  // within the reserved capacity
    }
    wake();
  };
  try {
    pool_.submit(std::move(job));
  } catch (const std::bad_alloc&) {
    return close(slot);
  }
  slot.state = State::Serving;
  ++num_serving_;
}

void EventLoop::take_back_served() {
  being_taken_.clear();
  {
    const std::lock_guard lock(mutex_);
    being_taken_.swap(served_);
  }
  for (const auto& [slot, after] : being_taken_) {
    --num_serving_;
    slot->state = State::Parked;
    if (after == Connection::After::Park) {
      park(*slot);
    } else if (after == Connection::After::Linger) {
      linger(*slot);
    } else {
      close(*slot);
    }
  }
}

void EventLoop::park(Slot& slot) {
  const bool idle = slot.connection->idle();
  if (idle && context_.draining.load()) return linger(slot);
  slot.since = SteadyClock::now();
  slot.deadline = slot.since + (idle ? context_.limits.keep_alive : context_.limits.head_timeout);
  next_scan_ = std::min(next_scan_, slot.deadline);
  watch_again(slot);
}

void EventLoop::linger(Slot& slot) {
  if (num_lingering_ >= kMaxLingering || ::shutdown(slot.connection->fd(), SHUT_WR) != 0) return close(slot);
  slot.state = State::Lingering;
  ++num_lingering_;
  --open_;
  slot.deadline = SteadyClock::now() + kLingerTime;
  next_scan_ = std::min(next_scan_, slot.deadline);
  watch_again(slot);
}

void EventLoop::close(Slot& slot) {
  if (slot.state == State::Lingering) {
    --num_lingering_;
  } else {
    --open_;
  }
  slots_.erase(&slot);
}

// Makes room by closing the connection that has been idle longest, as HTTP allows at any time.
void EventLoop::evict_idle() {
  Slot* oldest = nullptr;
  for (const auto& [slot, owner] : slots_) {
    const bool idle = slot->state == State::Parked && slot->connection->idle();
    if (idle && (oldest == nullptr || slot->since < oldest->since)) oldest = slot;
  }
  if (oldest != nullptr && SteadyClock::now() - oldest->since >= kEvictableAfter) close(*oldest);
}

void EventLoop::expire(SteadyClock::time_point now) {
  next_scan_ = now + std::chrono::hours(1);
  if (resume_accepting_ && listener_) {
    if (now >= *resume_accepting_) {
      resume_accepting_.reset();
      epoll_event event{EPOLLIN, {.ptr = &listener_}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
    } else {
      next_scan_ = *resume_accepting_;
    }
  }
  std::vector<Slot*> expired;
  for (const auto& [slot, owner] : slots_) {
    if (slot->state == State::Serving) continue;
    if (slot->deadline <= now) {
      expired.push_back(slot);
    } else {
      next_scan_ = std::min(next_scan_, slot->deadline);
    }
  }
  for (Slot* slot : expired) {
    if (slot->state == State::Lingering || slot->connection->idle()) {
      close(*slot);
    } else {
      slot->connection->refuse({408, "head_timeout", "The request's head did not arrive in time."});
      linger(*slot);
    }
  }
}

void EventLoop::begin_drain() {
  context_.draining = true;
  listener_.reset();
  std::vector<Slot*> idle;
  for (const auto& [slot, owner] : slots_) {
    if (slot->state == State::Parked && slot->connection->idle()) idle.push_back(slot);
  }
  for (Slot* slot : idle) close(*slot);
}

// Carries the shutdown on; true once run() may return.
bool EventLoop::drained(SteadyClock::time_point now) {
  std::optional<SteadyClock::time_point> stop_at;
  {
    const std::lock_guard lock(mutex_);
    stop_at = stop_at_;
  }
  if (!stop_at) return false;
  if (listener_) begin_drain();
  if (open_.load() == 0 && (num_lingering_ == 0 || now >= *stop_at)) return true;
  if (now >= *stop_at && !context_.cut.load()) {
    context_.cut = true;
    for (auto it = slots_.begin(); it != slots_.end();) {
      Slot& slot = *(it++)->second;
      if (slot.state == State::Parked) close(slot);  // heads that never arrived
    }
  }
  if (now >= *stop_at + kCutTime && !cut_) cut_connections();
  next_scan_ = std::min(next_scan_, now + std::chrono::milliseconds(20));  // come back soon
  return false;
}

// Reads and writes of those still being served fail from now on.
void EventLoop::cut_connections() {
  cut_ = true;
  for (const auto& [slot, owner] : slots_) {
    if (slot->state == State::Serving) ::shutdown(slot->connection->fd(), SHUT_RDWR);
  }
}

}  // namespace qwend::http
