// {"name": "f", "arguments": {"x": 1}}
#include "server/json/json_reader.h"
#include "server/openai/call_body.h"
#include "server/openai/json_scanner.h"
#include "server/openai/text_scan.h"

namespace qwend {
namespace {

bool is_space(char c) { return kJsonSpace.find(c) != std::string_view::npos; }

// Raw control characters inside a string are not JSON, but models write them and mean them as themselves.
void append_repaired(std::string& out, char c, bool in_string) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (!in_string || byte >= 0x20) {
    out += c;
  } else if (c == '\n') {
    out += "\\n";
  } else if (c == '\t') {
    out += "\\t";
  } else {
    out += "\\u00";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

// The string that a JSON string literal stands for; empty when it isn't one.
std::string decode_string(std::string_view literal) {
  auto parsed = json::parse(literal);
  if (!parsed) return {};
  const auto* text = std::get_if<std::string>(&parsed.value().data);
  return text == nullptr ? std::string() : *text;
}

bool is_object(std::string_view text) {
  auto parsed = json::parse(text);
  return parsed && std::holds_alternative<ValueObject>(parsed.value().data);
}

class JsonCallBody final : public CallBody {
 public:
  std::span<const std::string_view> open_tags() const override { return {&kCallOpenTag, 1}; }
  void begin(std::string_view) override {
    state_ = State::Open;
    announced_ = false;
    name_.clear();
    early_arguments_.clear();
    rest_.clear();
  }
  Status feed(char c, CallSink& sink) override;
  const std::string& rest() const override { return rest_; }
  void finish(CallSink&) override {}

 private:
  enum class State : uint8_t {
    Open,  // the object's brace
    Key,   // a key, or the closing brace
    InKey,
    Colon,
    ValueStart,
    Value,       // collecting the value of key_
    Arguments,   // passing the arguments object on
    AfterValue,  // comma or closing brace
  };
  Status feed_punctuation(char c, CallSink& sink);
  Status feed_value_start(char c, CallSink& sink);
  Status feed_value(char c, CallSink& sink);
  Status feed_arguments(char c, CallSink& sink);
  Status feed_after_value(char c, CallSink& sink);
  bool end_value();  // false: malformed
  Status end_object(char c, CallSink& sink);
  bool announce(CallSink& sink) { return announced_ = sink.announce(name_); }
  Status malformed(char c) {
    rest_.assign(1, c);
    return Status::Malformed;
  }

  State state_ = State::Open;
  bool announced_ = false;
  JsonScanner scanner_;
  std::string key_, value_, name_, rest_;
  std::string early_arguments_;  // complete, but they came before the name (or as a string)
};

CallBody::Status JsonCallBody::feed(char c, CallSink& sink) {
  switch (state_) {
    case State::InKey:
    case State::Value: return feed_value(c, sink);
    case State::Arguments: return feed_arguments(c, sink);
    default: break;
  }
  if (is_space(c)) return Status::More;
  switch (state_) {
    case State::ValueStart: return feed_value_start(c, sink);
    case State::AfterValue: return feed_after_value(c, sink);
    default: return feed_punctuation(c, sink);
  }
}

CallBody::Status JsonCallBody::feed_punctuation(char c, CallSink& sink) {
  if (state_ == State::Open && c == '{') {
    state_ = State::Key;
  } else if (state_ == State::Colon && c == ':') {
    state_ = State::ValueStart;
  } else if (state_ == State::Key && c == '"') {
    state_ = State::InKey;
    value_.clear();
    scanner_ = JsonScanner();
    return feed_value(c, sink);
  } else if (state_ == State::Key && c == '}') {
    return end_object(c, sink);
  } else {
    return malformed(c);
  }
  return Status::More;
}

CallBody::Status JsonCallBody::feed_value_start(char c, CallSink& sink) {
  scanner_ = JsonScanner();
  value_.clear();
  if (key_ == "arguments" && c == '{' && !name_.empty() && !announced_) {
    if (!announce(sink)) return malformed(c);
    state_ = State::Arguments;
    return feed_arguments(c, sink);
  }
  state_ = State::Value;
  return feed_value(c, sink);
}

CallBody::Status JsonCallBody::feed_value(char c, CallSink& sink) {
  const bool in_string = scanner_.in_string();
  switch (scanner_.feed(c)) {
    case JsonScanner::Status::Error: return malformed(c);
    case JsonScanner::Status::More: append_repaired(value_, c, in_string); return Status::More;
    case JsonScanner::Status::Done: value_ += c; return end_value() ? Status::More : malformed(c);
    case JsonScanner::Status::DoneBefore: break;
  }
  if (!end_value()) return malformed(c);
  return is_space(c) ? Status::More : feed_after_value(c, sink);
}

bool JsonCallBody::end_value() {
  if (state_ == State::InKey) {
    key_ = decode_string(value_);
    state_ = State::Colon;
    return true;
  }
  state_ = State::AfterValue;
  if (key_ == "name" && !announced_) {
    name_ = decode_string(value_);
    return !name_.empty();
  }
  if (key_ == "arguments" && !announced_) {
    // Some models write the object into a string.
    early_arguments_ = value_.front() == '"' ? decode_string(value_) : value_ == "null" ? "{}" : value_;
    return is_object(early_arguments_);
  }
  return true;
}

CallBody::Status JsonCallBody::feed_arguments(char c, CallSink& sink) {
  const bool in_string = scanner_.in_string();
  const JsonScanner::Status status = scanner_.feed(c);
  if (status == JsonScanner::Status::Error) return malformed(c);
  std::string piece;
  append_repaired(piece, c, in_string);
  sink.arguments(piece);
  if (status == JsonScanner::Status::Done) state_ = State::AfterValue;
  return Status::More;
}

CallBody::Status JsonCallBody::feed_after_value(char c, CallSink& sink) {
  if (c == '}') return end_object(c, sink);
  if (c != ',') return malformed(c);
  state_ = State::Key;
  return Status::More;
}

CallBody::Status JsonCallBody::end_object(char c, CallSink& sink) {
  if (announced_) return Status::Done;
  if (name_.empty() || !announce(sink)) return malformed(c);
  sink.arguments(early_arguments_.empty() ? "{}" : early_arguments_);
  return Status::Done;
}

}  // namespace

std::unique_ptr<CallBody> make_json_call_body() { return std::make_unique<JsonCallBody>(); }

}  // namespace qwend
