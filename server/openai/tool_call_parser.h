// Finds tool calls in a model's output while it is written. Each family has its own way to write the inside
// of a call (call_body.h); what is around it is the same.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/value.h"

namespace qwend {

enum class ToolCallFormat : uint8_t {
  None,
  Json,  // <tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>: Qwen2.5, Qwen3, QwQ
  Xml,   // <tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>:
         // Qwen3-Coder, 3.5
};

// A call is announced once, with its name; argument text follows in pieces.
struct ToolCallDelta {
  int32_t index = 0;  // of the call within its message
  std::string name;   // not empty: a new call
  std::string arguments;
  bool operator==(const ToolCallDelta&) const = default;
};

// ToolSettings::tools, shared by all choices of an answer.
using ToolList = std::shared_ptr<const std::vector<Value>>;

struct ToolCallOptions {
  ToolCallFormat format = ToolCallFormat::Json;
  bool parallel = true;           // false: calls after the first are dropped
  bool known_names_only = false;  // calls of other functions are malformed
  ToolList tools = nullptr;       // nullptr: none
};

// One place where a call's text is handed over; see CallBody.
class CallSink {
 public:
  virtual ~CallSink() = default;
  // Begins the call. False: the name is refused, the call is malformed.
  virtual bool announce(std::string_view name) = 0;
  virtual void arguments(std::string_view text) = 0;  // JSON text, after announce()
};

class CallBody;

// One a choice; one thread at a time. Text outside calls is content; white space between content and a call
// belongs to neither. A call that is malformed before it has been announced turns back into content; later,
// what was sent stands and the rest is content. Joined pieces never depend on how the text was cut.
class ToolCallParser : private CallSink {
 public:
  struct Output {
    std::string content;
    std::vector<ToolCallDelta> calls;
  };
  explicit ToolCallParser(ToolCallOptions options);
  ~ToolCallParser() override;
  void push(std::string_view text, Output& out);
  void finish(Output& out);
  int32_t num_calls() const { return options_.parallel ? calls_ : std::min(calls_, 1); }

 private:
  enum class State : uint8_t {
    Content,
    Body,
    Close,  // white space, then </tool_call>
  };
  void feed(char c);
  void feed_content(char c);
  void feed_body(char c);
  void feed_close(char c);
  void open(std::string_view tag);
  void malformed(const std::string& rest);
  bool announce(std::string_view name) override;
  void arguments(std::string_view text) override;
  bool is_known(std::string_view name) const;

  const ToolCallOptions options_;
  const std::unique_ptr<CallBody> body_;
  State state_ = State::Content;
  Output* out_ = nullptr;   // of the push() that is running
  std::string held_;        // white space or the beginning of a tag: not shown yet
  std::string raw_;         // of the current call, until it is announced
  bool announced_ = false;  // the current call
  int32_t calls_ = 0;       // announced so far
};

}  // namespace qwend
