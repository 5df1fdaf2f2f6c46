#include "server/openai/tool_call_parser.h"

#include "server/json/json_reader.h"
#include "server/openai/text_scan.h"

namespace qwend {
namespace {

constexpr std::string_view kOpenTag = "<tool_call>";
constexpr std::string_view kCloseTag = "</tool_call>";

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

}  // namespace

void ToolCallParser::push(std::string_view text, Output& out) {
  for (const char c : text) {
    if (state_ != State::Content && !announced_) raw_ += c;
    feed(c, out);
  }
}

void ToolCallParser::feed(char c, Output& out) {
  switch (state_) {
    case State::Content: return feed_content(c, out);
    case State::InKey:
    case State::Value: return feed_value(c, out);
    case State::Arguments: return feed_arguments(c, out);
    case State::Close: return feed_close(c, out);
    default: break;
  }
  if (is_space(c)) return;
  switch (state_) {
    case State::Open:
    case State::Key:
    case State::Colon: return feed_open(c, out);
    case State::ValueStart: return feed_value_start(c, out);
    default: return feed_after_value(c, out);
  }
}

void ToolCallParser::feed_content(char c, Output& out) {
  held_ += c;
  const size_t begin = std::min(held_.find_first_not_of(kJsonSpace), held_.size());
  const std::string_view tag = std::string_view(held_).substr(begin);
  if (tag == kOpenTag) return begin_call();
  if (kOpenTag.starts_with(tag)) return;
  // Not a tag after all. A new one, or white space ahead of one, can only begin with this character.
  const bool hold = is_space(c) || c == kOpenTag.front();
  if (hold) held_.pop_back();
  out.content += held_;
  held_.assign(hold ? 1 : 0, c);
}

void ToolCallParser::begin_call() {
  raw_ = std::move(held_);
  held_.clear();
  announced_ = false;
  name_.clear();
  early_arguments_.clear();
  state_ = State::Open;
}

void ToolCallParser::feed_open(char c, Output& out) {
  if (state_ == State::Open && c == '{') {
    state_ = State::Key;
  } else if (state_ == State::Colon && c == ':') {
    state_ = State::ValueStart;
  } else if (state_ == State::Key && c == '"') {
    state_ = State::InKey;
    value_.clear();
    scanner_ = JsonScanner();
    feed_value(c, out);
  } else if (state_ == State::Key && c == '}') {
    end_object(c, out);
  } else {
    malformed(c, out);
  }
}

void ToolCallParser::feed_value_start(char c, Output& out) {
  scanner_ = JsonScanner();
  value_.clear();
  if (key_ == "arguments" && c == '{' && !name_.empty() && !announced_) {
    announce(out);
    state_ = State::Arguments;
    feed_arguments(c, out);
  } else {
    state_ = State::Value;
    feed_value(c, out);
  }
}

void ToolCallParser::feed_value(char c, Output& out) {
  const bool in_string = scanner_.in_string();
  switch (scanner_.feed(c)) {
    case JsonScanner::Status::Error: return malformed(c, out);
    case JsonScanner::Status::More: return append_repaired(value_, c, in_string);
    case JsonScanner::Status::Done: value_ += c; return end_value(c, out);
    case JsonScanner::Status::DoneBefore:
      end_value(c, out);
      if (state_ == State::AfterValue && !is_space(c)) feed_after_value(c, out);
  }
}

void ToolCallParser::end_value(char c, Output& out) {
  if (state_ == State::InKey) {
    key_ = decode_string(value_);
    state_ = State::Colon;
    return;
  }
  state_ = State::AfterValue;
  if (key_ == "name" && !announced_) {
    name_ = decode_string(value_);
    if (name_.empty()) malformed(c, out);
  } else if (key_ == "arguments" && !announced_) {
    // Some models write the object into a string.
    early_arguments_ = value_.front() == '"' ? decode_string(value_) : value_ == "null" ? "{}" : value_;
    if (!is_object(early_arguments_)) malformed(c, out);
  }
}

void ToolCallParser::feed_arguments(char c, Output& out) {
  const bool in_string = scanner_.in_string();
  const JsonScanner::Status status = scanner_.feed(c);
  if (status == JsonScanner::Status::Error) return malformed(c, out);
  std::string piece;
  append_repaired(piece, c, in_string);
  append_arguments(piece, out);
  if (status == JsonScanner::Status::Done) state_ = State::AfterValue;
}

void ToolCallParser::feed_after_value(char c, Output& out) {
  if (c == ',') {
    state_ = State::Key;
  } else if (c == '}') {
    end_object(c, out);
  } else {
    malformed(c, out);
  }
}

void ToolCallParser::end_object(char c, Output& out) {
  if (!announced_) {
    if (name_.empty()) return malformed(c, out);
    announce(out);
    append_arguments(early_arguments_.empty() ? "{}" : early_arguments_, out);
  }
  state_ = State::Close;
}

void ToolCallParser::announce(Output& out) {
  announced_ = true;
  raw_.clear();
  if (++calls_ == 1 || parallel_) out.calls.push_back({calls_ - 1, name_, ""});
}

void ToolCallParser::append_arguments(std::string_view text, Output& out) {
  if (calls_ > 1 && !parallel_) return;
  if (out.calls.empty() || out.calls.back().index != calls_ - 1) out.calls.push_back({calls_ - 1, "", ""});
  out.calls.back().arguments += text;
}

void ToolCallParser::feed_close(char c, Output& out) {
  if (held_.empty() && is_space(c)) return;
  held_ += c;
  if (held_ == kCloseTag) {
    held_.clear();
    state_ = State::Content;
  } else if (!kCloseTag.starts_with(held_)) {  // no closing tag: the call stands, the text goes on
    const std::string text = std::move(held_);
    held_.clear();
    state_ = State::Content;
    for (const char again : text) feed(again, out);
  }
}

void ToolCallParser::malformed(char c, Output& out) {
  state_ = State::Content;
  if (!announced_) {
    out.content += raw_;
    raw_.clear();
  } else {
    feed_content(c, out);
  }
}

void ToolCallParser::finish(Output& out) {
  const bool space_after_calls = calls_ > 0 && held_.find_first_not_of(kJsonSpace) == std::string::npos;
  if (state_ == State::Content && !space_after_calls) out.content += held_;
  if (state_ != State::Content && !announced_) out.content += raw_;
  held_.clear();
  raw_.clear();
  state_ = State::Content;
}

}  // namespace qwend
