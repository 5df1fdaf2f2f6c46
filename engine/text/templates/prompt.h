// A prompt under construction: runs of text with what each may become.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/tokenizer.h"

namespace qwend::templates {

class Prompt {
 public:
  // Written by the template itself: control tokens are meant.
  Prompt& markup(std::string_view text) { return add(text, Specials::All); }
  // Said by the model in an earlier turn: <think> and <tool_call> are meant, control tokens are not.
  Prompt& model(std::string_view text) { return add(text, Specials::UserDefined); }
  // From the client: always text.
  Prompt& client(std::string_view text) { return add(text, Specials::None); }

  std::vector<TextSegment> take() { return std::move(segments_); }

 private:
  Prompt& add(std::string_view text, Specials specials) {
    if (text.empty()) return *this;
    if (segments_.empty() || segments_.back().specials != specials) segments_.push_back({{}, specials});
    segments_.back().text += text;
    return *this;
  }

  std::vector<TextSegment> segments_;
};

}  // namespace qwend::templates
