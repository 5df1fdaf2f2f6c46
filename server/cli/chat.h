// `qwend chat`: talk in the terminal, streaming.
#pragma once
#include <optional>
#include <string>

#include "server/cli/options.h"

namespace qwend::cli {

struct ChatOptions {
  ModelOptions model;
  std::string system;       // system message; empty: none
  std::string prompt;       // answer this one message and leave
  double temperature = -1;  // < 0: the model's recommendation
  int max_tokens = 0;       // 0: what the context allows
  int64_t seed = -1;        // < 0: a random one
};
void add_chat_options(OptionTable& table, ChatOptions& options);

// Returns an exit code. Throws LoadError.
int run_chat(const ChatOptions& options);

}  // namespace qwend::cli
