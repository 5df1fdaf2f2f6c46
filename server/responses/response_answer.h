// Answers of /v1/responses: the response object, and the events that build it up.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"
#include "server/openai/answer.h"
#include "server/openai/choice.h"
#include "server/openai/output_items.h"
#include "server/responses/response_store.h"

namespace qwend {

struct ResponseAnswerOptions {
  ChoiceOptions choice;
  float temperature = 1, top_p = 1;        // as used
  std::string echo;                        // members that repeat the request
  std::shared_ptr<StoredResponse> stored;  // to be kept up to date; may be nullptr
};

// One choice. Every event is numbered; joined deltas, *.done events and the final response say the same. The
// tokenizer must outlive it.
class ResponseAnswer final : public Answer, private OutputItems::Listener {
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
  void opened(size_t index) override;
  void grew(size_t index, const std::string& piece, const std::vector<TokenOutput>& logprobs) override;
  void closed(size_t index) override;

  void begin();
  template <class Write>
  void emit(std::string_view type, Write write);
  template <class Write>
  void emit_in_item(std::string_view type, size_t index, Write write);
  void emit_response(std::string_view type, const std::string& response);
  void write_part(json::JsonWriter& writer, const OutputItem& item, bool filled) const;
  void write_item(json::JsonWriter& writer, size_t index, bool filled) const;
  const char* status_of(const OutputItem& item) const;
  const char* status() const;  // of the response at its end
  std::string item_id(size_t index) const;
  std::string call_id(int32_t call) const;
  // error: nullptr but for "failed".
  std::string response(const char* status, const Totals* totals, const ApiError* error = nullptr) const;
  std::string finish(const Totals& totals);

  const AnswerHead head_;
  const ResponseAnswerOptions options_;
  const Tokenizer& tokenizer_;
  Choice choice_;
  OutputItems items_;
  bool begun_ = false;
  int64_t next_event_ = 0;
  std::string* events_ = nullptr;  // where events go during a call; nullptr: nowhere
};

}  // namespace qwend
