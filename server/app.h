// What the handlers share: references to the long-lived parts of the process. Set up by main, read-only
// afterwards (but for `responses` and `draining`).
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"
#include "server/http/http_server.h"
#include "server/responses/response_store.h"

namespace qwend {

class Metrics;  // server/metrics.h

struct App {
  Engine& engine;
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatTemplate chat_template;
  ModelInfo model;
  Metrics& metrics;
  std::string system_fingerprint;  // build + model, e.g. "qwend-0.1.0-1a2b3c4d"
  int queue_timeout_ms = 60'000;
  int request_timeout_ms = 600'000;
  int sse_ping_ms = 15'000;
  bool strict_params = false;
  bool sampling_defaults_openai = false;      // temperature 1, top_p 1 instead of the model's recommendation
  bool both_reasoning_fields = false;         // chat's reasoning as `reasoning` too
  ResponseStore responses = ResponseStore();  // of "store": true
  std::atomic<bool> draining = false;         // set when shutdown begins: /readyz turns red at once
};

// Registers every endpoint of the API on the server. App must outlive it.
void register_routes(http::Server& server, App& app);

}  // namespace qwend
