// Prompts to hidden states: what embeddings and reranking have in common.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/app.h"
#include "server/handlers/handlers.h"

namespace qwend {

struct PooledPrompt {
  std::vector<int32_t> tokens;  // >= 1
  std::string param;            // what errors about it name
};

struct PooledOutput {
  std::vector<std::vector<float>> hidden;  // [prompts][D], after the final norm, of each prompt's last token
  Totals totals;
};

// Runs the prompts, some at a time, so that a long list neither overflows the queue nor crowds out others.
// Nothing: the client has been told of a failure, or is gone.
std::optional<PooledOutput> run_pooled(App& app, const http::Request& request, http::Responder& responder,
                                       std::vector<PooledPrompt> prompts);

}  // namespace qwend
