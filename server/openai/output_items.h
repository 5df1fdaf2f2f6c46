// An answer as a list of items in the order in which the model wrote them: reasoning, message, calls. What
// the dialects with typed output have in common.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/chat_template.h"
#include "server/openai/choice.h"

namespace qwend {

struct OutputItem {
  enum class Kind { Reasoning, Message, Call };
  Kind kind;
  std::string text = {};                   // of a call the arguments
  std::string name = {};                   // of a call
  int32_t call_index = 0;                  // of a call
  std::vector<TokenOutput> logprobs = {};  // of a message
  bool open = true;                        // more may come; only ever true of the last item
};

// One choice's items. One thread at a time.
class OutputItems {
 public:
  // Told of each change, in order, as it is made. `index` is the item's place in the list.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void opened(size_t index) = 0;  // still empty
    // `piece` has just been added to the item's text.
    virtual void grew(size_t index, const std::string& piece, const std::vector<TokenOutput>& logprobs) = 0;
    virtual void closed(size_t index) = 0;
  };

  explicit OutputItems(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // reasoning_tokens: of the choice, so far.
  void push(ChoiceUpdate update, int32_t reasoning_tokens, Listener& listener);
  void open(OutputItem::Kind kind, Listener& listener);  // closes the one before
  void close(Listener& listener);                        // the last one, if open
  const std::vector<OutputItem>& list() const { return items_; }
  // All of it as a message of the conversation; call_id(call_index) names its calls.
  template <class CallId>
  ChatMessage message(CallId call_id) const {
    ChatMessage message = texts();
    for (const OutputItem& item : items_)
      if (item.kind == OutputItem::Kind::Call) add_call(message, item, call_id(item.call_index));
    return message;
  }

 private:
  void add_text(OutputItem::Kind kind, const std::string& text, std::vector<TokenOutput> logprobs,
                Listener& listener);
  std::vector<TokenOutput> message_logprobs(ChoiceUpdate& update, int32_t reasoning_tokens);
  ChatMessage texts() const;
  static void add_call(ChatMessage& message, const OutputItem& item, std::string id);

  const Tokenizer* tokenizer_;
  std::vector<OutputItem> items_;
  int32_t logprobs_seen_ = 0;
};

}  // namespace qwend
