#include "server/cli/render.h"

#include <iostream>
#include <sstream>

namespace qwend::cli {

std::vector<ChatMessage> parse_dialogue(const std::string& text) {
  std::vector<ChatMessage> messages;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    bool started = false;
    for (const char* role : {"system", "user", "assistant", "tool"}) {
      const std::string prefix = std::string(role) + ": ";
      if (!line.starts_with(prefix)) continue;
      messages.push_back({.role = role,
                          .content = line.substr(prefix.size()),
                          .reasoning = {},
                          .tool_calls = {},
                          .tool_call_id = {}});
      started = true;
    }
    if (started) continue;
    if (messages.empty()) {
      messages.push_back(
          {.role = "user", .content = line, .reasoning = {}, .tool_calls = {}, .tool_call_id = {}});
    } else {
      messages.back().content += "\n" + line;
    }
  }
  return messages;
}

int run_render(const ChatTemplate& chat_template, const std::string& dialogue,
               const ChatTemplateOptions& options, bool colour, std::ostream& out) {
  const auto rendered = chat_template.render(parse_dialogue(dialogue), {}, options);
  if (!rendered.ok()) {
    std::cerr << "qwend render: " << rendered.error() << "\n";
    return 64;
  }
  for (const TextSegment& segment : rendered.value()) {
    const bool markup = colour && segment.specials == Specials::All;
    out << (markup ? "\033[36m" : "") << segment.text << (markup ? "\033[0m" : "");
  }
  out << std::flush;
  return 0;
}

}  // namespace qwend::cli
