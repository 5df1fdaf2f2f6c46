// Answers of /v1/chat/completions: chat.completion and chat.completion.chunk.
#pragma once
#include <vector>

#include "engine/text/tokenizer.h"
#include "server/openai/answer.h"
#include "server/openai/choice.h"

namespace qwend {

struct ChatAnswerOptions : AnswerOptions {
  int32_t n = 1;
  ChoiceOptions choice;
  bool both_reasoning_fields = false;     // `reasoning` beside `reasoning_content`
  std::vector<int32_t> prompt_token_ids;  // shown when choice.token_ids is set
};

// The tokenizer must outlive it.
class ChatAnswer final : public Answer {
 public:
  ChatAnswer(AnswerHead head, ChatAnswerOptions options, const Tokenizer& tokenizer);
  void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) override;
  void end_events(const Totals& totals, std::string& events) override;
  std::string whole(const Totals& totals) override;

 private:
  struct ChoiceState {
    Choice choice;
    ChoiceUpdate update;   // streams: not sent yet; else everything so far
    bool started = false;  // the role has been sent
  };
  void stream_text(int32_t index, std::string& out);
  void stream_calls(int32_t index, const std::vector<ToolCallDelta>& calls, std::string& out);
  void stream_call_begin(int32_t index, const ToolCallDelta& call, std::string& out);
  // One chunk; write_delta writes the members of its delta. What waited in the choice's update goes with it.
  template <class WriteDelta>
  void chunk(int32_t index, const char* finish_reason, const Totals* totals, std::string& out,
             WriteDelta write_delta);
  void write_chunk_usage(json::JsonWriter& writer) const;
  void write_reasoning(json::JsonWriter& writer, const std::string& text) const;
  void write_message(int32_t index, json::JsonWriter& writer);
  std::string call_id(int32_t index, int32_t call) const;
  int32_t reasoning_tokens() const;

  const AnswerHead head_;
  const ChatAnswerOptions options_;
  const Tokenizer& tokenizer_;
  std::string chunk_head_;  // the members that every chunk begins with
  std::vector<ChoiceState> choices_;
  Totals so_far_;  // of the last delta
};

}  // namespace qwend
