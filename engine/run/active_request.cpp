#include "engine/run/active_request.h"

#include <algorithm>

#include "engine/schedule/scheduler.h"

namespace qwend {

ActiveRequest::ActiveRequest(RequestId id_, GenerationRequest params_, uint64_t seed_,
                             const Tokenizer& tokenizer, int32_t max_model_len, Clock::time_point now)
    : id(id_),
      params(std::move(params_)),
      seed(seed_),
      stream(std::make_shared<OutputStream>(id_)),
      sequences(params.n),
      outputs(params.n, OutputProcessor(tokenizer, params, max_model_len)),
      num_unfinished(params.n),
      submitted_at(now) {
  using std::chrono::duration_cast, std::chrono::microseconds;
  const int64_t arrival_us = duration_cast<microseconds>(now.time_since_epoch()).count();
  for (int32_t i = 0; i < params.n; ++i) {
    Sequence& sequence = sequences[i];
    sequence.request = this;
    sequence.request_id = id;
    sequence.index = i;
    sequence.arrival_us = arrival_us + params.priority * Scheduler::kPriorityHandicapUs;
    sequence.domain = {params.cache_salt, params.use_prefix_cache ? 0 : id};
    sequence.wants_prompt_logits = i == 0 && params.prompt_logprobs >= 0;
    sequence.prompt = params.prompt;
    sequence.max_output_tokens = outputs[i].max_tokens();
  }
  if (HistoryBias::wanted(params.sampling)) history.assign(params.n, HistoryBias(tokenizer, params.sampling));
  if (params.thinking) thinking.assign(params.n, ThinkingBudget(*params.thinking));
  if (!params.openings.empty()) openings.assign(params.n, Opening(params.openings, tokenizer));
  for (const int32_t token : params.sampling.allowed_tokens) {
    const auto word = static_cast<size_t>(token / 64);
    if (word >= allowed_mask.size()) allowed_mask.resize(word + 1);
    allowed_mask[word] |= uint64_t{1} << (token % 64);
  }
  usage.prompt_tokens = static_cast<int32_t>(params.prompt.size());
  if (params.prompt_logprobs >= 0) prompt_logprobs.push_back({params.prompt.front(), 0.0f, {}});
}

Timings ActiveRequest::timings(Clock::time_point now) const {
  const Clock::time_point none{};
  const auto ms = [](Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
  };
  Timings t;
  t.queue_ms = ms(submitted_at, started_at != none ? started_at : now);
  if (prompt_done_at != none) t.prompt_ms = ms(started_at, prompt_done_at);
  if (first_token_at != none) {
    t.ttft_ms = ms(submitted_at, first_token_at);
    t.predicted_ms = ms(first_token_at, now);
  }
  return t;
}

}  // namespace qwend
