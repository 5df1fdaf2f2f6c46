// `qwend render`: what the chat template makes of a list of messages.
#pragma once
#include <iosfwd>
#include <string>

#include "engine/text/chat_template.h"

namespace qwend::cli {
// Turns "role: text" lines (a role starts a message; other lines continue it) into messages.
std::vector<ChatMessage> parse_dialogue(const std::string& text);
// Prints the prompt; what may become control tokens is marked when the output is a terminal. Returns an exit
// code.
int run_render(const ChatTemplate& chat_template, const std::string& dialogue,
               const ChatTemplateOptions& options, bool colour, std::ostream& out);
}  // namespace qwend::cli
