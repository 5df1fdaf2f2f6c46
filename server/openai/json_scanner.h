// Checks a JSON value character by character, so that it can be passed on while it is still being written.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace qwend {

// One value from its first character to its last. One thread at a time. Constant work a character; memory one
// byte a nesting level (depth <= 64). Raw control characters inside strings, which models do write, are let
// through: see in_string() to repair them. White space before the value is not part of it.
class JsonScanner {
 public:
  enum class Status {
    More,        // fine so far
    Done,        // this character ended the value
    DoneBefore,  // the value had ended before this character (numbers, literals)
    Error,       // no JSON value continues like this
  };
  Status feed(char c);
  bool in_string() const {
    return state_ == State::String || state_ == State::Escape || state_ == State::Unicode;
  }

 private:
  enum class State {
    Value,
    FirstItem,
    FirstKey,
    Key,
    Colon,
    AfterValue,
    String,
    Escape,
    Unicode,
    Number,
    Literal
  };
  Status begin_value(char c);
  Status end_value();  // a value inside the containers, or the whole, is complete
  Status open(char bracket, State next);
  Status close(char bracket);
  Status step_string(char c);
  Status step_number(char c);
  Status step_after_value(char c);

  State state_ = State::Value;
  std::vector<char> open_;  // '{' or '['
  bool string_is_key_ = false;
  int hex_digits_ = 0;
  std::string number_;
  std::string_view literal_;  // what is still to come of true, false, null
};

}  // namespace qwend
