// The inside of one tool call, as one family writes it.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "server/openai/tool_call_parser.h"

namespace qwend {

// Used for one call after the other: begin(), then feed() until it is done or malformed. Calls
// sink.announce() as soon as the name is sure to be one, and passes arguments on as they come. One thread at
// a time.
class CallBody {
 public:
  enum class Status : uint8_t { More, Done, Malformed };
  virtual ~CallBody() = default;
  // What opens a call in the text around; <tool_call> is the first.
  virtual std::span<const std::string_view> open_tags() const = 0;
  virtual void begin(std::string_view tag) = 0;
  virtual Status feed(char c, CallSink& sink) = 0;
  // After Done or Malformed: the end of what was fed that is no part of the call.
  virtual const std::string& rest() const = 0;
  // The text ends here: passes on what was held back.
  virtual void finish(CallSink& sink) = 0;
};

inline constexpr std::string_view kCallOpenTag = "<tool_call>";
inline constexpr std::string_view kCallCloseTag = "</tool_call>";

std::unique_ptr<CallBody> make_json_call_body();
// tools: types of the arguments, which the text does not tell.
std::unique_ptr<CallBody> make_xml_call_body(ToolList tools);

}  // namespace qwend
