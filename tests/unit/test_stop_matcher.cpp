#include <chrono>
#include <random>

#include "engine/text/stop_matcher.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

struct Found {
  std::string text;
  int stop_index = -1;
  bool operator==(const Found&) const = default;
};

// By the definition: the first end of any stop string, the longest on a tie.
Found naive(const std::vector<std::string>& stops, const std::string& text, bool include_stop) {
  for (size_t end = 1; end <= text.size(); ++end) {
    int best = -1;
    for (size_t s = 0; s < stops.size(); ++s) {
      const bool matches = std::string_view(text).substr(0, end).ends_with(stops[s]);
      if (matches && (best < 0 || stops[s].size() > stops[static_cast<size_t>(best)].size()))
        best = static_cast<int>(s);
    }
    if (best >= 0)
      return {text.substr(0, include_stop ? end : end - stops[static_cast<size_t>(best)].size()), best};
  }
  return {text, -1};
}

// The longest end of the text that a stop string begins with: what must be held back, and no more.
size_t naive_held(const std::vector<std::string>& stops, const std::string& text) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = std::min(stop.size(), text.size()); n > longest; --n) {
      if (text.ends_with(stop.substr(0, n))) longest = n;
    }
  }
  return longest;
}

std::string random_string(std::mt19937& random, size_t max_length) {
  std::uniform_int_distribution<size_t> length(1, max_length);
  std::uniform_int_distribution<int> letter('a', 'b');
  std::string text(length(random), ' ');
  for (char& c : text) c = static_cast<char>(letter(random));
  return text;
}

}  // namespace

TEST_CASE("a stop string is found over push boundaries", "[unit][stop_matcher]") {
  StopMatcher matcher({"\n\nUser:", "END"});
  CHECK(matcher.push("Hello\n").text == "Hello");
  CHECK(matcher.push("\nUs").text == "");
  CHECK(matcher.push("ual").text == "\n\nUsual");
  CHECK(matcher.push(" EN").text == " ");
  const auto output = matcher.push("D of text");
  CHECK(output.stopped);
  CHECK(output.stop_index == 1);
  CHECK(output.text == "");
}

TEST_CASE("the stop string is included on request", "[unit][stop_matcher]") {
  StopMatcher matcher({"END"});
  CHECK(matcher.push("the E", true).text == "the ");
  CHECK(matcher.push("ND, really", true).text == "END");
}

TEST_CASE("the first stop to complete wins, the longest on a tie", "[unit][stop_matcher]") {
  CHECK(StopMatcher({"abcd", "bc"}).push("xabcd").text == "xa");
  const auto tie = StopMatcher({"c", "abc", "bc"}).push("xabcd");
  CHECK(tie.text == "x");
  CHECK(tie.stop_index == 1);
}

TEST_CASE("flush returns what was held back", "[unit][stop_matcher]") {
  StopMatcher matcher({"aab"});
  CHECK(matcher.push("xaaa").text == "xa");
  CHECK(matcher.flush() == "aa");
  CHECK(matcher.flush() == "");
  CHECK_FALSE(matcher.push("b").stopped);  // a new text
}

TEST_CASE("no stop strings: text passes through", "[unit][stop_matcher]") {
  StopMatcher matcher({});
  CHECK(matcher.push("any").text == "any");
  CHECK(matcher.flush() == "");
}

TEST_CASE("random texts cut at random places match the definition", "[unit][stop_matcher]") {
  std::mt19937 random(5);
  for (int i = 0; i < 30'000; ++i) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = random_string(random, 8);
    const std::string text = random_string(random, 40);
    const bool include_stop = random() % 2;
    const Found expected = naive(stops, text, include_stop);
    StopMatcher matcher(stops);
    Found got;
    for (size_t at = 0; at < text.size() && got.stop_index < 0;) {
      const size_t size = std::min<size_t>(random() % 6, text.size() - at);
      const auto output = matcher.push(std::string_view(text).substr(at, size), include_stop);
      at += size;
      got.text += output.text;
      got.stop_index = output.stop_index;
      REQUIRE(output.stopped == (output.stop_index >= 0));
      if (!output.stopped) REQUIRE(at - got.text.size() == naive_held(stops, text.substr(0, at)));
    }
    if (got.stop_index < 0) got.text += matcher.flush();
    INFO("seed 5, text " << i << ": " << text);
    REQUIRE(got == expected);
  }
}

TEST_CASE("a short text cut at every set of places matches the definition", "[unit][stop_matcher]") {
  const std::vector<std::string> stops = {"abab", "bb", "aaa"};
  for (const std::string text : {"abaabab", "ababab", "aabaaab", "babbaab", "abaaba"}) {
    const Found expected = naive(stops, text, false);
    for (unsigned cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      StopMatcher matcher(stops);
      Found got;
      for (size_t begin = 0, end = 1; end <= text.size() && got.stop_index < 0; ++end) {
        if (end < text.size() && !(cuts >> (end - 1) & 1)) continue;
        const auto output = matcher.push(std::string_view(text).substr(begin, end - begin));
        got.text += output.text;
        got.stop_index = output.stop_index;
        begin = end;
      }
      if (got.stop_index < 0) got.text += matcher.flush();
      REQUIRE(got == expected);
    }
  }
}

TEST_CASE("16 stop strings of 4 KiB that nearly match cost linear time", "[unit][stop_matcher]") {
  std::vector<std::string> stops;
  for (char last = 'b'; last < 'b' + 16; ++last) stops.push_back(std::string(4095, 'a') + last);
  StopMatcher matcher(stops);
  const auto start = std::chrono::steady_clock::now();
  size_t shown = 0;
  for (int i = 0; i < 100'000; ++i) shown += matcher.push("aaa").text.size();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CHECK(shown == 300'000 - 4095);
  CHECK_FALSE(matcher.push("z").stopped);
  CHECK(matcher.push(stops[15]).stop_index == 15);
  CHECK(seconds.count() < 20);  // quadratic: 300,000 x 4,096 x 16 comparisons
}
