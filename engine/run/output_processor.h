// Sampled token -> what the client sees, and whether the sequence ends with it.
#pragma once
#include <optional>

#include "engine/run/repetition_detector.h"
#include "engine/text/detokenizer.h"
#include "engine/text/stop_matcher.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

// One a sequence; engine thread only. The request and the tokenizer must outlive it.
class OutputProcessor {
 public:
  OutputProcessor(const Tokenizer& tokenizer, const GenerationRequest& request, int32_t max_model_len);

  // The delta for the next token of the sequence; delta.finish says whether it was the last one (Stop or
  // Length).
  OutputDelta push(SampledToken sampled);
  // Ends the sequence without a further token: the delta holds the text held back so far.
  OutputDelta finish(FinishReason reason);
  int32_t num_tokens() const { return num_tokens_; }  // pushed so far
  int32_t max_tokens() const { return max_tokens_; }  // ends with this one at the latest

 private:
  bool is_stop_token(int32_t token) const;
  void add_text(const std::string& text, OutputDelta& delta);
  void flush(OutputDelta& delta);

  const Tokenizer* tokenizer_;
  const GenerationRequest* request_;
  int32_t max_tokens_;  // the request's, or what the context leaves
  Detokenizer detokenizer_;
  std::optional<StopMatcher> matcher_;            // none without stop strings
  std::optional<RepetitionDetector> repetition_;  // none where it is off
  int32_t num_tokens_ = 0;
};

}  // namespace qwend
