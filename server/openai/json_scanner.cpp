#include "server/openai/json_scanner.h"

#include <cctype>

#include "server/openai/text_scan.h"

namespace qwend {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxNumber = 64;  // characters

bool is_space(char c) { return kJsonSpace.find(c) != std::string_view::npos; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// RFC 8259: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
bool is_number(std::string_view text) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i > begin;
  };
  if (i < text.size() && text[i] == '-') ++i;
  if (i < text.size() && text[i] == '0') {
    ++i;
  } else if (!digits()) {
    return false;
  }
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == text.size();
}

}  // namespace

JsonScanner::Status JsonScanner::feed(char c) {
  switch (state_) {
    case State::String:
    case State::Escape:
    case State::Unicode: return step_string(c);
    case State::Number: return step_number(c);
    case State::Literal:
      if (c != literal_.front()) return Status::Error;
      literal_.remove_prefix(1);
      return literal_.empty() ? end_value() : Status::More;
    default: break;
  }
  if (is_space(c)) return Status::More;
  switch (state_) {
    case State::FirstItem: return c == ']' ? close('[') : begin_value(c);
    case State::FirstKey:
      if (c == '}') return close('{');
      [[fallthrough]];
    case State::Key:
      if (c != '"') return Status::Error;
      state_ = State::String;
      string_is_key_ = true;
      return Status::More;
    case State::Colon:
      if (c != ':') return Status::Error;
      state_ = State::Value;
      return Status::More;
    case State::AfterValue: return step_after_value(c);
    default: return begin_value(c);
  }
}

JsonScanner::Status JsonScanner::begin_value(char c) {
  switch (c) {
    case '{': return open('{', State::FirstKey);
    case '[': return open('[', State::FirstItem);
    case '"':
      state_ = State::String;
      string_is_key_ = false;
      return Status::More;
    case 't': literal_ = "rue"; break;
    case 'f': literal_ = "alse"; break;
    case 'n': literal_ = "ull"; break;
    default:
      if (c != '-' && !is_digit(c)) return Status::Error;
      number_.assign(1, c);
      state_ = State::Number;
      return Status::More;
  }
  state_ = State::Literal;
  return Status::More;
}

JsonScanner::Status JsonScanner::end_value() {
  state_ = State::AfterValue;
  return open_.empty() ? Status::Done : Status::More;
}

JsonScanner::Status JsonScanner::open(char bracket, State next) {
  if (open_.size() >= kMaxDepth) return Status::Error;
  open_.push_back(bracket);
  state_ = next;
  return Status::More;
}

JsonScanner::Status JsonScanner::close(char bracket) {
  if (open_.back() != bracket) return Status::Error;
  open_.pop_back();
  return end_value();
}

JsonScanner::Status JsonScanner::step_after_value(char c) {
  if (c == '}') return close('{');
  if (c == ']') return close('[');
  if (c != ',') return Status::Error;
  state_ = open_.back() == '{' ? State::Key : State::Value;
  return Status::More;
}

JsonScanner::Status JsonScanner::step_string(char c) {
  if (state_ == State::Unicode) {
    if (!std::isxdigit(static_cast<unsigned char>(c))) return Status::Error;
    if (--hex_digits_ == 0) state_ = State::String;
  } else if (state_ == State::Escape) {
    if (std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos) return Status::Error;
    state_ = c == 'u' ? State::Unicode : State::String;
    hex_digits_ = 4;
  } else if (c == '\\') {
    state_ = State::Escape;
  } else if (c == '"') {
    if (!string_is_key_) return end_value();
    state_ = State::Colon;
  }
  return Status::More;
}

JsonScanner::Status JsonScanner::step_number(char c) {
  if (is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-') {
    number_ += c;
    return number_.size() <= kMaxNumber ? Status::More : Status::Error;
  }
  if (!is_number(number_)) return Status::Error;
  if (end_value() == Status::Done) return Status::DoneBefore;
  return feed(c);  // white space, a comma or a bracket
}

}  // namespace qwend
