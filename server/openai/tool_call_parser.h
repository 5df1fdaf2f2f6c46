// Finds tool calls of the JSON family in a model's output while it is written:
//   <tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/json_scanner.h"

namespace qwend {

// A call is announced once, with its name; argument text follows in pieces.
struct ToolCallDelta {
  int32_t index = 0;  // of the call within its message
  std::string name;   // not empty: a new call
  std::string arguments;
  bool operator==(const ToolCallDelta&) const = default;
};

// One a choice; one thread at a time. Text outside calls is content; white space between content and a call
// belongs to neither. A call that is malformed before it has been announced turns back into content; later,
// what was sent stands and the rest is content. Joined pieces never depend on how the text was cut.
class ToolCallParser {
 public:
  struct Output {
    std::string content;
    std::vector<ToolCallDelta> calls;
  };
  // parallel false: calls after the first are dropped.
  explicit ToolCallParser(bool parallel = true) : parallel_(parallel) {}
  void push(std::string_view text, Output& out);
  void finish(Output& out);
  int32_t num_calls() const { return parallel_ ? calls_ : std::min(calls_, 1); }

 private:
  enum class State {
    Content,
    Open,  // after <tool_call>: the object's brace
    Key,   // a key, or the closing brace
    InKey,
    Colon,
    ValueStart,
    Value,       // collecting the value of key_
    Arguments,   // passing the arguments object on
    AfterValue,  // comma or closing brace
    Close,       // white space, then </tool_call>
  };
  void feed(char c, Output& out);
  void feed_content(char c, Output& out);
  void feed_open(char c, Output& out);
  void feed_value_start(char c, Output& out);
  void feed_value(char c, Output& out);
  void feed_arguments(char c, Output& out);
  void feed_after_value(char c, Output& out);
  void feed_close(char c, Output& out);
  void end_value(char c, Output& out);
  void end_object(char c, Output& out);
  void begin_call();
  void announce(Output& out);
  void append_arguments(std::string_view text, Output& out);
  void malformed(char c, Output& out);

  const bool parallel_;
  State state_ = State::Content;
  std::string held_;   // white space or the beginning of a tag: not shown yet
  int32_t calls_ = 0;  // announced so far
  // of the current call
  std::string raw_;  // everything, until it is announced
  bool announced_ = false;
  JsonScanner scanner_;
  std::string key_, value_, name_;
  std::string early_arguments_;  // complete, but they came before the name (or as a string)
};

}  // namespace qwend
