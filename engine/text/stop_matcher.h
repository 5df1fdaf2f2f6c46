// Stop strings over token boundaries: text that could still become a stop string is held back.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace qwend {

// One a sequence; one thread at a time. Linear in the text for any set of stop strings (Aho-Corasick).
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);  // empty strings are not allowed
  struct Output {
    std::string text;      // safe to show
    bool stopped = false;  // a stop string was found; text ends before it (or after it, see include_stop)
    int stop_index = -1;   // which one: the first to complete; the longest on a tie
  };
  Output push(std::string_view text, bool include_stop = false);
  std::string flush();  // what was held back, at the end of generation

 private:
  struct Node { int next[2]; };
  std::vector<std::string> stops_;
  std::string held_;
  // implementation detail of the automaton lives in the .cpp; the owner of this header may change private members
};

}  // namespace qwend
