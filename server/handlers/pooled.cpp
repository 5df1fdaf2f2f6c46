#include "server/handlers/pooled.h"

#include <algorithm>

#include "server/handlers/deliver.h"
#include "server/openai/generation_request.h"

namespace qwend {
namespace {

// Prompts of one request that are with the engine together: enough to fill its steps.
constexpr size_t kAtOnce = 32;

// Takes the hidden states of one part of the prompts.
class HiddenStates final : public Answer {
 public:
  HiddenStates(std::vector<std::vector<float>>& hidden, size_t first) : hidden_(hidden), first_(first) {}
  void push(int32_t choice, const OutputDelta& delta, const Totals*, std::string*) override {
    if (delta.last) hidden_[first_ + static_cast<size_t>(choice)] = delta.hidden;
  }
  void end_events(const Totals&, std::string&) override {}
  std::string whole(const Totals&) override { return {}; }

 private:
  std::vector<std::vector<float>>& hidden_;
  const size_t first_;
};

Result<std::vector<GenerationRequest>, ApiError> to_requests(const App& app, const http::Request& request,
                                                             std::vector<PooledPrompt>& prompts) {
  GenerationParams params;
  params.max_tokens = 0;
  std::vector<GenerationRequest> requests;
  for (PooledPrompt& prompt : prompts) {
    auto made = to_generation_request(params, std::move(prompt.tokens), app, request.key_name, prompt.param);
    if (!made) return made.error();
    made.value().pooled = true;
    requests.push_back(std::move(made).value());
  }
  return requests;
}

}  // namespace

std::optional<PooledOutput> run_pooled(App& app, const http::Request& request, http::Responder& responder,
                                       std::vector<PooledPrompt> prompts) {
  const auto refuse = [&](const ApiError& error) {
    reply_error(app, responder, error);
    return std::nullopt;
  };
  auto requests = to_requests(app, request, prompts);
  if (!requests) return refuse(requests.error());
  PooledOutput output;
  output.hidden.resize(prompts.size());
  for (size_t first = 0; first < prompts.size(); first += kAtOnce) {
    std::vector<GenerationRequest> part;
    for (size_t i = first; i < std::min(first + kAtOnce, prompts.size()); ++i) {
      part.push_back(std::move(requests.value()[i]));
      part.back().queue_deadline = Clock::now() + std::chrono::milliseconds(app.queue_timeout_ms);
    }
    auto outputs = OutputGroup::submit(app.engine, app.metrics, std::move(part));
    if (!outputs) return refuse(outputs.error());
    HiddenStates states(output.hidden, first);
    if (!collect(app, responder, *outputs.value(), states)) return std::nullopt;
    output.totals.add(outputs.value()->totals().usage, outputs.value()->totals().timings);
  }
  const bool cut = std::ranges::any_of(output.hidden, &std::vector<float>::empty);
  if (cut) return refuse(engine_failed("not finished within the time limit"));
  return output;
}

}  // namespace qwend
