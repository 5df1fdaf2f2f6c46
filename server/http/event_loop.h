// Accepts connections, waits for their requests' heads, and closes them.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/http/connection.h"
#include "server/http/context.h"
#include "server/http/socket.h"
#include "server/http/worker_pool.h"

namespace qwend::http {

// All members but stop() and open_connections() belong to the thread in run(). It is the only one that opens
// and closes client sockets, so no descriptor is ever used after it has been given to somebody else.
class EventLoop {
 public:
  EventLoop(ServerContext& context, Fd listener);
  ~EventLoop();

  void run();
  void stop(std::chrono::milliseconds grace);
  int open_connections() const { return open_.load(); }

 private:
  enum class State { Parked, Serving, Lingering };
  struct Slot {
    std::unique_ptr<Connection> connection;
    State state = State::Parked;
    SteadyClock::time_point deadline;  // while parked or lingering
    SteadyClock::time_point since;     // parked since
  };

  void wait_and_handle();
  void accept_all();
  void accept_one(Fd fd, std::string remote);
  void pause_accepting();
  void on_readable(Slot& slot);
  void park(Slot& slot);
  void serve(Slot& slot);
  void linger(Slot& slot);
  void close(Slot& slot);
  void evict_idle();
  void take_back_served();
  void expire(SteadyClock::time_point now);
  bool watch(Slot& slot, int operation);
  void watch_again(Slot& slot);
  void wake();

  void begin_drain();
  bool drained(SteadyClock::time_point now);
  void cut_connections();

  ServerContext& context_;
  Fd listener_, epoll_, wake_event_;
  std::unordered_map<Slot*, std::unique_ptr<Slot>> slots_;
  size_t num_serving_ = 0, num_lingering_ = 0;
  std::atomic<int> open_{0};           // parked or serving
  SteadyClock::time_point next_scan_;  // earliest deadline, or earlier
  std::optional<SteadyClock::time_point> resume_accepting_;
  bool cut_ = false;

  using Served = std::vector<std::pair<Slot*, Connection::After>>;
  Served being_taken_;
  std::mutex mutex_;
  Served served_;  // guarded by mutex_; capacity for all, so that adding can't fail
  std::optional<SteadyClock::time_point> stop_at_;  // guarded by mutex_: end of the drain time
  WorkerPool pool_;                                 // last: its threads use all of the above
};

}  // namespace qwend::http
