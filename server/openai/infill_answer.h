// Answers of /infill, in llama-server's shape.
#pragma once
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "server/openai/answer.h"
#include "server/openai/choice.h"

namespace qwend {

struct InfillAnswerOptions {
  std::vector<std::string> stop;  // strings, to name the one that ended it
  bool token_ids = false;
};

// One choice. Streams end with the event that has "stop": true. The tokenizer must outlive it.
class InfillAnswer final : public Answer {
 public:
  InfillAnswer(AnswerHead head, InfillAnswerOptions options, const Tokenizer& tokenizer);
  void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) override;
  void end_events(const Totals& totals, std::string& events) override;
  std::string whole(const Totals& totals) override;

 private:
  std::string object(const Totals* totals) const;  // of update_

  const AnswerHead head_;
  const InfillAnswerOptions options_;
  Choice choice_;
  ChoiceUpdate update_;  // streams: not sent yet; else everything so far
  int32_t stop_index_ = -1;
};

}  // namespace qwend
