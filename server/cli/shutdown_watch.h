// What ends a running server: the first SIGTERM or SIGINT, or the death of its engine.
#pragma once
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "server/app.h"
#include "server/http/http_server.h"

namespace qwend::cli {

// SIGTERM and SIGINT: to be blocked in every thread before any is started, and taken by the watch.
sigset_t shutdown_signals();

// One thread waits for the end, which comes once.
//   A signal: readiness turns red, requests in flight may end, new ones are refused (503 "draining"). A
//   second signal ends the process at once. The engine fails (a CUDA error, say): its streams have been told;
//   the listener is closed, so that the process can end with an error and its supervisor start another.
// The destructor waits for that end: call cancel() where it will not come.
class ShutdownWatch {
 public:
  ShutdownWatch(http::Server& server, std::chrono::milliseconds grace);
  ~ShutdownWatch() { thread_.join(); }

  void attach(App* app) { app_ = app; }  // from when the model is there; app outlives the watch's thread
  void cancel();                         // ends the listener without a signal: the model could not be loaded
  bool engine_died() const { return engine_died_; }

 private:
  void wait();
  void wait_for_signal_or_death();
  std::chrono::milliseconds drain();

  http::Server& server_;
  const std::chrono::milliseconds grace_;
  const sigset_t signals_ = shutdown_signals();
  std::atomic<App*> app_{nullptr};
  std::atomic<bool> cancelled_{false}, engine_died_{false};
  std::thread thread_;  // last: started when everything else is there
};

}  // namespace qwend::cli
