// What the delivery loop needs of an endpoint: engine deltas in, the bytes of the answer out.
#pragma once
#include <cstdint>
#include <string>

#include "engine/types.h"
#include "server/openai/error.h"
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
  bool timings_per_token = false;  // in every chunk
  int32_t prompt_tokens = 0;       // of all prompts together
  std::string params_json;         // not empty: show what was used
};

// One request's answer, streamed or whole, in one dialect. One thread at a time. Deltas of a choice must come
// in order.
class Answer {
 public:
  virtual ~Answer() = default;
  // events: where to append what the client can see now, as server-sent events; nullptr: collect for whole().
  // totals: given with the very last delta of the request.
  virtual void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) = 0;
  // Streams: what comes after the last finish chunk: usage when asked for, then [DONE].
  virtual void end_events(const Totals& totals, std::string& events) = 0;
  virtual std::string whole(const Totals& totals) = 0;
  // A failure: in place of the whole answer, or as the end of a stream that has begun.
  virtual std::string error_body(const ApiError& error) { return error.to_json(); }
  virtual void error_events(const ApiError& error, std::string& events) {
    events += "data: " + error.to_json() + "\n\n";
  }
  // Asked for by someone else: what there is stands, and the answer ends as if it were complete.
  virtual bool cancelled() const { return false; }
};

}  // namespace qwend
