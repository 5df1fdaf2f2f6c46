// Messages and tools -> prompt, for every endpoint that takes messages.
#pragma once
#include <string>
#include <vector>

#include "server/app.h"
#include "server/openai/chat_request.h"
#include "server/openai/tool_call_parser.h"

namespace qwend {

inline constexpr std::string_view kThinkClose = "\n</think>\n\n";  // how all families end a think block

struct ChatPrompt {
  std::vector<TextSegment> segments;
  bool starts_in_reasoning = false;                  // the prompt ends in an open think block
  ToolCallFormat tool_calls = ToolCallFormat::None;  // to look for in the output
  // To force a call the prompt ends with its beginning, and the output begins with one of the rests of it:
  // the function's name, where there are several, up to its arguments.
  std::string forced_prefix;
  std::vector<std::string> openings;
};

// The error is the template's own refusal (400), or tools that this model's family can't be given.
Result<ChatPrompt, ApiError> make_chat_prompt(const App& app, const ChatRequest& request);

}  // namespace qwend
