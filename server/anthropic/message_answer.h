// Answers of /v1/messages: the message object, and the events that build it up.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"
#include "server/openai/answer.h"
#include "server/openai/choice.h"
#include "server/openai/output_items.h"

namespace qwend {

struct MessageAnswerOptions {
  ChoiceOptions choice;
  int32_t prompt_tokens = 0;
  std::vector<std::string> stop_sequences;
};

// One choice: a content block an item. The tokenizer must outlive it.
class MessageAnswer final : public Answer, private OutputItems::Listener {
 public:
  MessageAnswer(AnswerHead head, MessageAnswerOptions options, const Tokenizer& tokenizer);
  void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) override;
  void end_events(const Totals& totals, std::string& events) override;
  std::string whole(const Totals& totals) override;
  std::string error_body(const ApiError& error) override;
  void error_events(const ApiError& error, std::string& events) override;

 private:
  void opened(size_t index) override;
  void grew(size_t index, const std::string& piece, const std::vector<TokenOutput>& logprobs) override;
  void closed(size_t index) override;

  void begin();
  template <class Write>
  void emit(std::string_view type, Write write);
  void write_block(json::JsonWriter& writer, const OutputItem& item, bool filled) const;
  void write_head(json::JsonWriter& writer) const;
  void write_stop(json::JsonWriter& writer) const;  // stop_reason, stop_sequence; null until finished

  const AnswerHead head_;
  const MessageAnswerOptions options_;
  Choice choice_;
  OutputItems items_;
  bool begun_ = false;
  int32_t stop_index_ = -1;        // which stop sequence ended it
  std::string* events_ = nullptr;  // where events go during a call; nullptr: nowhere
};

}  // namespace qwend
