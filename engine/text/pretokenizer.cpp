#include "engine/text/pretokenizer.h"

#include "engine/error.h"
#include "engine/gguf/printable.h"
#include "engine/text/unicode.h"
#include "engine/text/utf8.h"

namespace qwend {

namespace {

// A view of text as classified characters.
class Scanner {
 public:
  Scanner(std::string_view text, bool marks_are_letters)
      : end_(text.data() + text.size()), marks_are_letters_(marks_are_letters) {}

  struct Char {
    CharClass cls;
    const char* after;
  };
  Char at(const char* position) const {
    const Utf8Char c = decode_utf8(position, end_);
    CharClass cls = c.valid() ? table_.char_class(c.code_point) : CharClass::Other;
    if (cls == CharClass::Mark) cls = marks_are_letters_ ? CharClass::Letter : CharClass::Other;
    return {cls, position + c.size};
  }
  bool is(CharClass cls, const char* position) const { return position < end_ && at(position).cls == cls; }

  const char* skip(CharClass cls, const char* position) const {
    while (position < end_) {
      const Char c = at(position);
      if (c.cls != cls) break;
      position = c.after;
    }
    return position;
  }
  const char* end() const { return end_; }

 private:
  const UnicodeTable& table_ = UnicodeTable::instance();
  const char* end_;
  bool marks_are_letters_;
};

char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// End of the contraction whose apostrophe is at `at`, or nullptr. U+017F (long s) folds to s, as it does in
// the case-insensitive pattern.
const char* contraction_end(const char* at, const char* end) {
  const auto left = end - at;
  if (left < 2) return nullptr;
  const char first = ascii_lower(at[1]);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if (left < 3) return nullptr;
  const char second = ascii_lower(at[2]);
  if (second == 'e' && (first == 'r' || first == 'v')) return at + 3;
  if (second == 'l' && first == 'l') return at + 3;
  if (std::string_view(at + 1, 2) == "\xC5\xBF") return at + 3;
  return nullptr;
}

// A run of white space: up to its last CR or LF if it has one; else all of it, but the last character when
// more than one and text follows (that one belongs to the next piece).
const char* white_space_end(const Scanner& scanner, const char* begin) {
  const char* last_newline_end = nullptr;
  const char* last = begin;  // start of the run's last character
  const char* at = begin;
  while (at < scanner.end()) {
    const Scanner::Char c = scanner.at(at);
    if (c.cls != CharClass::Space && c.cls != CharClass::Newline) break;
    if (c.cls == CharClass::Newline) last_newline_end = c.after;
    last = at;
    at = c.after;
  }
  if (last_newline_end) return last_newline_end;
  return at < scanner.end() && last > begin ? last : at;
}

}  // namespace

PreTokenizer::PreTokenizer(std::string_view name) : marks_are_letters_(name == "qwen35") {
  if (name != "qwen2" && name != "deepseek-r1-qwen" && name != "qwen35") {
    throw LoadError("tokenizer.ggml.pre: " + gguf::quoted(name) +
                    " is not supported; supported: qwen2, deepseek-r1-qwen, qwen35");
  }
}

size_t PreTokenizer::piece_end(std::string_view text, size_t begin) const {
  const Scanner scanner(text, marks_are_letters_);
  const char* const start = text.data() + begin;
  const auto offset = [&](const char* at) { return static_cast<size_t>(at - text.data()); };

  if (*start == '\'') {
    if (const char* end = contraction_end(start, scanner.end())) return offset(end);
  }
  const Scanner::Char first = scanner.at(start);
  if (first.cls == CharClass::Letter) return offset(scanner.skip(CharClass::Letter, first.after));
  if (first.cls == CharClass::Number) return offset(first.after);
  if (first.cls != CharClass::Newline && scanner.is(CharClass::Letter, first.after)) {
    return offset(scanner.skip(CharClass::Letter, first.after));
  }
  const char* const symbols = *start == ' ' ? first.after : start;
  if (scanner.is(CharClass::Other, symbols)) {
    return offset(scanner.skip(CharClass::Newline, scanner.skip(CharClass::Other, symbols)));
  }
  return offset(white_space_end(scanner, start));
}

}  // namespace qwend
