// Answers of /v1/responses: the response object, and the events that build it up.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"
#include "server/openai/answer.h"
#include "server/openai/choice.h"
#include "server/responses/response_store.h"

namespace qwend {

struct ResponseAnswerOptions {
  ChoiceOptions choice;
  float temperature = 1, top_p = 1;        // as used
  std::string echo;                        // members that repeat the request
  std::shared_ptr<StoredResponse> stored;  // to be kept up to date; may be nullptr
};

// One choice. Output items come in the order in which they are written: reasoning, message, function calls.
// Every event is numbered; joined deltas, *.done events and the final response say the same. The tokenizer
// must outlive it.
class ResponseAnswer final : public Answer {
 public:
  ResponseAnswer(AnswerHead head, ResponseAnswerOptions options, const Tokenizer& tokenizer);
  void push(int32_t choice, const OutputDelta& delta, const Totals* totals, std::string* events) override;
  void end_events(const Totals& totals, std::string& events) override;
  std::string whole(const Totals& totals) override;
  // Ahead of the first event the API's error; afterwards response.failed.
  std::string error_body(const ApiError& error) override;
  void error_events(const ApiError& error, std::string& events) override;
  bool cancelled() const override;

 private:
  enum class Kind { Reasoning, Message, Call };
  struct Item {
    Kind kind;
    std::string id, text;       // text: of a call the arguments
    std::string name, call_id;  // of a call
    std::vector<TokenOutput> logprobs;
    const char* status = "in_progress";
  };
  void begin();
  void add_text(Kind kind, const std::string& text, std::vector<TokenOutput> logprobs);
  void add_call(const ToolCallDelta& call);
  Item& open_item(Kind kind);
  void close_item(const char* status);
  std::vector<TokenOutput> take_logprobs(ChoiceUpdate& update);
  ChatMessage message() const;  // the output as a message of the conversation

  template <class Write>
  void emit(std::string_view type, Write write);
  template <class Write>
  void emit_in_item(std::string_view type, Write write);
  void emit_response(std::string_view type, const std::string& response);
  void write_part(json::JsonWriter& writer, const Item& item, bool filled) const;
  void write_item(json::JsonWriter& writer, const Item& item, bool filled) const;
  // error: nullptr but for "failed".
  std::string response(const char* status, const Totals* totals, const ApiError* error = nullptr) const;
  std::string finish(const Totals& totals);

  const AnswerHead head_;
  const ResponseAnswerOptions options_;
  const Tokenizer& tokenizer_;
  Choice choice_;
  std::vector<Item> items_;  // the last may be open
  bool begun_ = false, was_cancelled_ = false;
  int32_t logprobs_seen_ = 0;
  int64_t next_event_ = 0;
  std::string* events_ = nullptr;  // during push(), end_events() and error_events() of a stream
};

}  // namespace qwend
