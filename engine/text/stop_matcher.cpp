#include "engine/text/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"

namespace qwend {

StopMatcher::Automaton::Automaton(std::string stop_string)
    : stop(std::move(stop_string)), border(stop.size(), 0) {
  for (size_t i = 1; i < stop.size(); ++i) {
    uint32_t k = border[i - 1];
    while (k > 0 && stop[k] != stop[i]) k = border[k - 1];
    border[i] = stop[k] == stop[i] ? k + 1 : 0;
  }
}

bool StopMatcher::Automaton::advance(char byte) {
  while (matched > 0 && stop[matched] != byte) matched = border[matched - 1];
  if (stop[matched] == byte) ++matched;
  return matched == stop.size();
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  automata_.reserve(stops.size());
  for (std::string& stop : stops) {
    CHECK(!stop.empty() && stop.size() < UINT32_MAX);
    automata_.emplace_back(std::move(stop));
  }
}

StopMatcher::Output StopMatcher::push(std::string_view text, bool include_stop) {
  Output output;
  if (automata_.empty()) {
    output.text = text;
    return output;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    size_t longest = 0;
    for (size_t a = 0; a < automata_.size(); ++a) {
      if (automata_[a].advance(text[i]) && automata_[a].stop.size() > longest) {
        longest = automata_[a].stop.size();
        output.stop_index = static_cast<int>(a);
      }
    }
    if (longest > 0) {
      output.stopped = true;
      output.text = flush();
      output.text += text.substr(0, i + 1);
      if (!include_stop) output.text.erase(output.text.size() - longest);
      return output;
    }
  }
  size_t keep = 0;
  for (const Automaton& automaton : automata_) keep = std::max<size_t>(keep, automaton.matched);
  held_ += text;
  output.text = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return output;
}

std::string StopMatcher::flush() {
  for (Automaton& automaton : automata_) automaton.matched = 0;
  return std::exchange(held_, {});
}

}  // namespace qwend
