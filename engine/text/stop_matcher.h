// Stop strings over token boundaries: text that could still become a stop string is held back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qwend {

// One a sequence; one thread at a time. Runs one Knuth-Morris-Pratt automaton a stop string, so each byte of
// text costs a constant time a stop string, whatever the text and the strings; memory is 5 bytes a byte of
// stop string.
class StopMatcher {
 public:
  explicit StopMatcher(
      std::vector<std::string> stops);  // empty strings are not allowed; no stops: text passes through
  struct Output {
    std::string text;      // safe to show
    bool stopped = false;  // a stop string was found; text ends before it (or after it, see include_stop)
    int stop_index = -1;   // which one: the first to complete; the longest on a tie
  };
  // Holds back the longest end of the text that begins a stop string. After a stop, what follows the stop
  // string is dropped and the matcher is as new. If stop strings and each `text` are valid UTF-8, so is each
  // Output::text.
  Output push(std::string_view text, bool include_stop = false);
  std::string flush();  // what was held back, at the end of generation; the matcher is as new after it

 private:
  // Progress of one stop string.
  struct Automaton {
    explicit Automaton(std::string stop);
    bool advance(char byte);  // true: the string is complete
    std::string stop;
    std::vector<uint32_t> border;  // border[k]: longest proper prefix of stop[0..k] that is also its suffix
    uint32_t matched = 0;          // length of the longest prefix of stop that the text ends with
  };

  std::vector<Automaton> automata_;
  std::string held_;
};

}  // namespace qwend
