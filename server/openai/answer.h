// What the delivery loop needs of an endpoint: engine deltas in, the bytes of the answer out.
#pragma once
#include <cstdint>
#include <string>

#include "engine/types.h"
#include "server/openai/usage.h"

namespace qwend {

// What all chunks of an answer repeat.
struct AnswerHead {
  std::string id;
  int64_t created = 0;  // unix seconds
  std::string model;
  std::string system_fingerprint;
};

struct AnswerOptions {
  bool include_usage = false;
  bool continuous_usage_stats = false;
  int32_t prompt_tokens = 0;  // of all prompts together
  std::string params_json;    // not empty: show what was used
};

// One request's answer, streamed or whole. One thread at a time. Deltas of a choice must come in order.
class Answer {
 public:
  virtual ~Answer() = default;
  // events: where to append what the client can see now, as server-sent events; nullptr: collect for whole().
  // totals: given with the very last delta of the request.
  virtual void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) = 0;
  // Streams: what comes after the last finish chunk: usage when asked for, then [DONE].
  virtual void end_events(const Totals& totals, std::string& events) = 0;
  virtual std::string whole(const Totals& totals) = 0;
};

}  // namespace qwend
