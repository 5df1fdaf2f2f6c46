// One choice of an answer: what the engine's deltas mean for the client, the same for streams and whole
// answers.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "engine/types.h"
#include "server/openai/reasoning_splitter.h"
#include "server/openai/tool_call_parser.h"

namespace qwend {

// What one or more deltas add to a choice. Pieces of text are complete UTF-8.
struct ChoiceUpdate {
  std::string reasoning, content;
  std::vector<ToolCallDelta> tool_calls;
  std::vector<TokenOutput> logprobs;  // of the tokens whose text has been shown by now
  std::vector<int32_t> token_ids;
  bool shows_text() const { return !reasoning.empty() || !content.empty() || !tool_calls.empty(); }
  // Appends a later update of the same choice.
  void append(ChoiceUpdate&& later);
};

// "stop", "length": the wire's word for how a choice ended. FinishReason::None and failures have none.
const char* finish_reason_name(FinishReason reason);

// Log-probability entries wait here until their token's text has been shown, so that a chunk's entries
// describe the chunk's text and tokens cut off by a stop string leave no entry.
class LogprobBuffer {
 public:
  LogprobBuffer(const Tokenizer& tokenizer, bool keep_control)
      : tokenizer_(&tokenizer), keep_control_(keep_control) {}
  // Moves the entries that are due to `out`.
  void push(const OutputDelta& delta, std::vector<TokenOutput>& out);

 private:
  size_t text_size(int32_t token) const;
  struct Entry {
    size_t begin;  // byte offset of the token's text in the choice's text
    TokenOutput token;
  };
  const Tokenizer* tokenizer_;
  bool keep_control_;
  std::vector<Entry> waiting_;
  size_t generated_ = 0, shown_ = 0;  // bytes
};

struct ChoiceOptions {
  bool split_reasoning = false;
  bool starts_in_reasoning = false;
  ToolCallFormat tool_calls = ToolCallFormat::None;
  bool parallel_tool_calls = true;
  ToolList tools = nullptr;  // with a forced call the only ones that may be called
  // Put into the prompt to force a call: the parser sees it ahead of the output.
  std::string forced_prefix = {};
  bool logprobs = false;
  bool token_ids = false;
  bool keep_control = false;
};

// One thread at a time.
class Choice {
 public:
  Choice(const ChoiceOptions& options, const Tokenizer& tokenizer);
  ChoiceUpdate push(const OutputDelta& delta);
  bool finished() const { return finish_ != FinishReason::None; }
  // Once finished: "stop", "length" or "tool_calls".
  const char* finish_reason() const;
  int32_t reasoning_tokens() const { return reasoning_tokens_; }
  int32_t tokens() const { return tokens_; }

 private:
  void take_text(std::string_view text, bool last, ChoiceUpdate& update);
  void take_reasoning(std::string text, bool last, ChoiceUpdate& update);
  void take_content(std::string text, bool last, ChoiceUpdate& update);
  int32_t calls_in_reasoning() const { return reasoning_tools_ ? reasoning_tools_->num_calls() : 0; }
  void count(const std::vector<TokenOutput>& tokens);

  const Tokenizer* tokenizer_;
  const bool logprobs_, token_ids_, parallel_tool_calls_;
  std::optional<ReasoningSplitter> splitter_;
  std::optional<ReasoningSplitter> counter_;  // sees token by token what the splitter sees delta by delta
  // Calls come after the block, or inside it: models forget to close it. There a call must be of a tool that
  // exists, since models also think about how calls look.
  std::unique_ptr<ToolCallParser> tools_, reasoning_tools_;
  ToolCallParser::Output forced_;  // what the forced prefix has announced, until the first update
  LogprobBuffer buffer_;
  FinishReason finish_ = FinishReason::None;
  int32_t reasoning_tokens_ = 0, tokens_ = 0;
};

}  // namespace qwend
