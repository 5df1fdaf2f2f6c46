// <function=f>\n<parameter=x>\n1\n</parameter>\n</function>
#include <algorithm>

#include "server/json/json_writer.h"
#include "server/openai/argument_types.h"
#include "server/openai/call_body.h"
#include "server/openai/text_scan.h"
#include "server/openai/tools.h"

namespace qwend {
namespace {

constexpr std::string_view kFunctionOpen = "<function=", kFunctionClose = "</function>";
constexpr std::string_view kParameterOpen = "<parameter=", kParameterClose = "</parameter>";
// Models leave the outer tag out at times.
constexpr std::string_view kOpenTags[] = {kCallOpenTag, kFunctionOpen};
constexpr size_t kMaxName = 256;  // bytes
constexpr size_t kMaxGap = 64;    // white space between two closing tags

bool is_space(char c) { return kJsonSpace.find(c) != std::string_view::npos; }

// What text at the end of a value can be. A closing tag counts only where the call goes on or ends behind it:
// values may well contain one.
enum class ValueEnd : uint8_t { No, Maybe, Parameter, Function, Call };

ValueEnd match_after(std::string_view text, std::string_view tag, ValueEnd what) {
  return text == tag ? what : tag.starts_with(text) ? ValueEnd::Maybe : ValueEnd::No;
}

ValueEnd match_value_end(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  for (const std::string_view close : {kParameterClose, kFunctionClose}) {
    if (close.starts_with(text)) return ValueEnd::Maybe;
    if (!text.starts_with(close)) continue;
    text.remove_prefix(close.size());
    const size_t gap = std::min(text.find_first_not_of(kJsonSpace), text.size());
    if (gap > kMaxGap) return ValueEnd::No;
    text.remove_prefix(gap);
    ValueEnd end = match_after(text, kCallCloseTag, ValueEnd::Call);
    if (close == kFunctionClose) return end;
    end = std::max(end, match_after(text, kParameterOpen, ValueEnd::Parameter));
    return std::max(end, match_after(text, kFunctionClose, ValueEnd::Function));
  }
  return ValueEnd::No;
}

class XmlCallBody final : public CallBody {
 public:
  explicit XmlCallBody(ToolList tools) : tools_(std::move(tools)) {}
  std::span<const std::string_view> open_tags() const override { return kOpenTags; }
  void begin(std::string_view tag) override {
    state_ = tag == kFunctionOpen ? State::Name : State::Open;
    tool_ = nullptr;
    num_parameters_ = 0;
    announced_ = false;
    held_.clear();
    name_.clear();
  }
  Status feed(char c, CallSink& sink) override;
  const std::string& rest() const override { return held_; }
  void finish(CallSink& sink) override;

 private:
  enum class State : uint8_t {
    Open,     // <function=
    Name,     // up to >
    Between,  // a parameter, or the end of the function
    ParameterName,
    ValueStart,  // a newline that is not part of the value
    Value,
  };
  Status feed_tag(char c, CallSink& sink);
  Status feed_name(char c, CallSink& sink);
  Status feed_value(char c, CallSink& sink);
  Status end_value(ValueEnd end, CallSink& sink);
  Status end_call(CallSink& sink);
  bool begin_call(CallSink& sink);
  void begin_value(CallSink& sink);
  void add_to_value(char c, CallSink& sink);
  void close_value(CallSink& sink);
  Status malformed(CallSink& sink) {
    if (announced_) end_call(sink);
    return Status::Malformed;
  }

  const ToolList tools_;
  State state_ = State::Open;
  std::string held_;  // may become a tag, or ends the value
  std::string name_;  // of the function, then of the parameter
  const Value* tool_ = nullptr;
  int32_t num_parameters_ = 0;
  bool announced_ = false;
  ArgumentTypes types_;
  std::string value_;  // of a parameter that may be something else than text
};

CallBody::Status XmlCallBody::feed(char c, CallSink& sink) {
  switch (state_) {
    case State::Open:
    case State::Between: return feed_tag(c, sink);
    case State::Name:
    case State::ParameterName: return feed_name(c, sink);
    case State::ValueStart: state_ = State::Value; return c == '\n' ? Status::More : feed_value(c, sink);
    case State::Value: break;
  }
  return feed_value(c, sink);
}

CallBody::Status XmlCallBody::feed_tag(char c, CallSink& sink) {
  if (held_.empty() && is_space(c)) return Status::More;
  held_ += c;
  const bool between = state_ == State::Between;
  if (between && held_ == kCallCloseTag) return end_call(sink);  // it goes back, to be found again
  if (between && held_ == kFunctionClose) {
    held_.clear();
    return end_call(sink);
  }
  const std::string_view wanted = between ? kParameterOpen : kFunctionOpen;
  if (held_ == wanted) {
    held_.clear();
    name_.clear();
    state_ = between ? State::ParameterName : State::Name;
    return Status::More;
  }
  const bool possible = wanted.starts_with(held_) ||
                        (between && (kFunctionClose.starts_with(held_) || kCallCloseTag.starts_with(held_)));
  return possible ? Status::More : malformed(sink);
}

CallBody::Status XmlCallBody::feed_name(char c, CallSink& sink) {
  if (c == '>' && !name_.empty()) {
    if (state_ == State::ParameterName) {
      begin_value(sink);
      return Status::More;
    }
    if (begin_call(sink)) return Status::More;
  }
  if (c == '>' || c == '<' || c == '\n' || name_.size() >= kMaxName) {
    held_.assign(1, c);
    return malformed(sink);
  }
  name_ += c;
  return Status::More;
}

bool XmlCallBody::begin_call(CallSink& sink) {
  announced_ = sink.announce(name_);
  if (tools_ != nullptr) tool_ = find_tool(*tools_, name_);
  state_ = State::Between;
  return announced_;
}

void XmlCallBody::begin_value(CallSink& sink) {
  std::string key = num_parameters_++ == 0 ? "{" : ", ";
  json::append_string(key, name_);
  types_ = tool_ != nullptr ? types_of_parameter(*tool_, name_) : ArgumentTypes{.string = true};
  sink.arguments(key + (types_.only_string() ? ": \"" : ": "));
  value_.clear();
  state_ = State::ValueStart;
}

CallBody::Status XmlCallBody::feed_value(char c, CallSink& sink) {
  if (held_.empty() && c != '\n' && c != '<') {
    add_to_value(c, sink);
    return Status::More;
  }
  held_ += c;
  while (!held_.empty()) {
    const ValueEnd end = match_value_end(held_);
    if (end == ValueEnd::Maybe) return Status::More;
    if (end != ValueEnd::No) return end_value(end, sink);
    // Up to where the end could begin after all.
    const size_t next = std::min(held_.find_first_of("\n<", 1), held_.size());
    for (const char value : std::string_view(held_).substr(0, next)) add_to_value(value, sink);
    held_.erase(0, next);
  }
  return Status::More;
}

CallBody::Status XmlCallBody::end_value(ValueEnd end, CallSink& sink) {
  close_value(sink);
  held_.clear();
  name_.clear();
  if (end == ValueEnd::Parameter) {
    state_ = State::ParameterName;
    return Status::More;
  }
  if (end == ValueEnd::Call) held_ = kCallCloseTag;
  return end_call(sink);
}

void XmlCallBody::add_to_value(char c, CallSink& sink) {
  if (!types_.only_string()) {
    value_ += c;
    return;
  }
  if (c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20) return sink.arguments({&c, 1});
  std::string escaped;
  json::append_string(escaped, {&c, 1});
  sink.arguments(std::string_view(escaped).substr(1, escaped.size() - 2));
}

void XmlCallBody::close_value(CallSink& sink) {
  sink.arguments(types_.only_string() ? "\"" : argument_json(value_, types_));
  state_ = State::Between;
}

CallBody::Status XmlCallBody::end_call(CallSink& sink) {
  sink.arguments(num_parameters_ == 0 ? "{}" : "}");
  return Status::Done;
}

// A value that breaks off stays open, so that nobody takes it for the whole. One whose closing tag is there
// is whole.
void XmlCallBody::finish(CallSink& sink) {
  if (state_ != State::Value) return;
  std::string_view text = held_;
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.starts_with(kParameterClose)) return close_value(sink);
  if (text.starts_with(kFunctionClose)) {
    close_value(sink);
    end_call(sink);
    return;
  }
  for (const char c : held_) add_to_value(c, sink);
}

}  // namespace

std::unique_ptr<CallBody> make_xml_call_body(ToolList tools) {
  return std::make_unique<XmlCallBody>(std::move(tools));
}

}  // namespace qwend
