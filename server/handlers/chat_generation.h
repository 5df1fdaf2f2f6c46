// From a typed chat to a running one: the steps that every chat dialect shares.
#pragma once
#include <string_view>

#include "server/handlers/chat_prompt.h"
#include "server/handlers/handlers.h"
#include "server/openai/choice.h"

namespace qwend {

// A chat that is ready for the engine, and how its output is to be read.
struct ChatGeneration {
  GenerationRequest request;
  ChoiceOptions choice;
};

// Checks the model's name, renders, tokenises, fills in defaults and limits. messages_param: the dialect's
// name for the conversation, for errors about the whole of it (too long).
Result<ChatGeneration, ApiError> make_chat_generation(const App& app, const http::Request& request,
                                                      const ChatRequest& chat,
                                                      std::string_view messages_param = "messages");

// How many tokens the prompt would have, the model's name checked.
Result<int64_t, ApiError> count_prompt_tokens(const App& app, const ChatRequest& chat);

// Admits the request and answers it. A problem means that nothing has been sent.
Problem run_single(App& app, http::Responder& responder, GenerationRequest request, Answer& answer,
                   bool stream);

}  // namespace qwend
