// Answers of /v1/completions: text_completion, the same shape for chunks.
#pragma once
#include <vector>

#include "engine/text/tokenizer.h"
#include "server/openai/answer.h"
#include "server/openai/choice.h"
#include "server/openai/logprobs.h"

namespace qwend {

struct CompletionAnswerOptions : AnswerOptions {
  int32_t n = 1;  // choices of each prompt
  ChoiceOptions choice;
  std::vector<std::string> echo;                       // a text for each prompt; empty: no echo
  std::vector<std::vector<int32_t>> prompt_token_ids;  // of each prompt, shown when choice.token_ids is set
};

// Choices are ordered by prompt, then n. The tokenizer must outlive it.
class CompletionAnswer final : public Answer {
 public:
  CompletionAnswer(AnswerHead head, CompletionAnswerOptions options, int32_t num_prompts,
                   const Tokenizer& tokenizer);
  void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) override;
  void end_events(const Totals& totals, std::string& events) override;
  std::string whole(const Totals& totals) override;

 private:
  struct ChoiceState {
    Choice choice;
    LegacyLogprobs logprobs;
    ChoiceUpdate update;   // streams: not sent yet; else everything so far
    bool started = false;  // the echo has been written
  };
  bool echoes() const { return !options_.echo.empty(); }
  // The prompt's log-probabilities come with the first delta of its first choice.
  bool waits_for_prompt(int32_t index) const;
  void write_choice(int32_t index, const char* finish_reason, json::JsonWriter& writer);
  void chunk(int32_t index, const char* finish_reason, const Totals* totals, std::string& out);
  size_t prompt_of(int32_t index) const { return static_cast<size_t>(index / options_.n); }

  const CompletionAnswerOptions options_;
  const Tokenizer& tokenizer_;
  std::string head_;  // the members that everything begins with
  std::vector<ChoiceState> choices_;
  Totals so_far_;                                          // of the last delta's prompt
  std::vector<std::vector<TokenOutput>> prompt_logprobs_;  // of each prompt; empty until they came
};

}  // namespace qwend
