#include "server/openai/reasoning_splitter.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

struct Parts {
  std::string reasoning, content;
  bool operator==(const Parts&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Parts& parts) {
  return out << "reasoning '" << parts.reasoning << "' content '" << parts.content << "'";
}

Parts split(std::string_view text, bool inside, size_t size) {
  ReasoningSplitter splitter(inside);
  Parts parts;
  for (size_t i = 0; i < text.size(); i += size)
    splitter.push(text.substr(i, size), parts.reasoning, parts.content);
  splitter.finish(parts.reasoning, parts.content);
  return parts;
}

Parts split_every_way(std::string_view text, bool inside) {
  const Parts whole = split(text, inside, std::max<size_t>(text.size(), 1));
  for (size_t size = 1; size <= 9; ++size) CHECK(split(text, inside, size) == whole);
  return whole;
}

}  // namespace

TEST_CASE("a think block at the start is reasoning", "[server][reasoning]") {
  CHECK(split_every_way("<think>\nadd them\n</think>\n\nIt is 2.", false) == Parts{"add them", "It is 2."});
  CHECK(split_every_way("\n<think>a\n\nb</think>c\n", false) == Parts{"a\n\nb", "c\n"});
  CHECK(split_every_way("<think>\n\n</think>\n\nHi", false) == Parts{"", "Hi"});
}

TEST_CASE("a block that the prompt opened", "[server][reasoning]") {
  CHECK(split_every_way("add them\n</think>\n\nIt is 2.", true) == Parts{"add them", "It is 2."});
  CHECK(split_every_way("never ends\n", true) == Parts{"never ends", ""});
  CHECK(split_every_way("1 < 2 </thin", true) == Parts{"1 < 2 </thin", ""});
}

TEST_CASE("text without a block is content, byte for byte", "[server][reasoning]") {
  for (const std::string text :
       {"Hello", "", "  indented", "a <think>b</think> c", "<thin", "<thinking>", "\n\n"})
    CHECK(split_every_way(text, false) == Parts{"", text});
}

TEST_CASE("a second block is content", "[server][reasoning]") {
  CHECK(split_every_way("<think>a</think>b<think>c</think>", false) == Parts{"a", "b<think>c</think>"});
}

TEST_CASE("it knows when it is inside", "[server][reasoning]") {
  ReasoningSplitter splitter(false);
  std::string reasoning, content;
  CHECK_FALSE(splitter.inside());
  splitter.push("<think>", reasoning, content);
  CHECK(splitter.inside());
  splitter.push("x</think>", reasoning, content);
  CHECK_FALSE(splitter.inside());
}
