#include "server/cli/shutdown_watch.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>

namespace qwend::cli {
namespace {

constexpr std::chrono::seconds kLastAnswers{2};  // for the error events of a dead engine's streams

}  // namespace

sigset_t shutdown_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

ShutdownWatch::ShutdownWatch(http::Server& server, std::chrono::milliseconds grace)
    : server_(server), grace_(grace), thread_([this] { wait(); }) {}

void ShutdownWatch::cancel() {
  cancelled_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);
}

void ShutdownWatch::wait() {
  wait_for_signal_or_death();
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);  // a second signal takes its default action
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  if (engine_died_) {
    spdlog::error("the engine has failed: {}; ending", app_.load()->engine.failure());
    server_.stop(kLastAnswers);
    return;
  }
  if (!cancelled_)
    spdlog::info("shutting down: waiting up to {} s for running requests", grace_.count() / 1000);
  server_.stop(drain());
}

void ShutdownWatch::wait_for_signal_or_death() {
  constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 100'000'000};
  while (sigtimedwait(&signals_, nullptr, &kLook) < 0) {
    const App* app = app_.load();
    if (app == nullptr || app->engine.alive()) continue;
    engine_died_ = true;
    return;
  }
}

// Waits for the accepted requests to end while new ones are still answered: 503 "draining", and /readyz too.
// Returns what is left of the time, for the answers that are being written.
std::chrono::milliseconds ShutdownWatch::drain() {
  const Clock::time_point deadline = Clock::now() + grace_;
  if (App* app = app_.load()) {
    app->draining = true;
    app->engine.drain();
    while (!app->engine.idle() && Clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

}  // namespace qwend::cli
