// What all connections of one server share.
#pragma once
#include <atomic>
#include <string>
#include <vector>

#include "server/http/body.h"
#include "server/http/http_server.h"
#include "server/http/router.h"

namespace qwend::http {

// Set up before the server runs, the routes at the latest while it is loading; afterwards only the atomics change.
struct ServerContext {
  explicit ServerContext(Limits given) : limits(given), bodies(given.max_inflight_bodies) {}

  const Limits limits;
  Router router;
  Authoriser authorise;  // empty: everyone may
  AccessLog access_log;
  std::vector<std::string> cors_origins;
  BodyBudget bodies;
  std::atomic<bool> loading{false};   // routes are not there yet; its release publishes them
  std::atomic<bool> draining{false};  // answer what is there, then close
  std::atomic<bool> cut{false};       // the drain time is over
};

}  // namespace qwend::http
