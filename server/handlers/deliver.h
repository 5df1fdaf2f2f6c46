// From the engine's streams to the client: the loop behind every generating endpoint.
#pragma once
#include "server/app.h"
#include "server/handlers/output_group.h"
#include "server/openai/answer.h"

namespace qwend {

// Runs submitted requests to their end and answers. Returns when the client has its answer, or is gone (then
// everything is cancelled). A failure before the first byte is a real status; later it is one error event.
void deliver(App& app, http::Responder& responder, OutputGroup& outputs, Answer& answer, bool stream);

// The first half of deliver(), for answers made of several parts: runs to the end and pushes what comes.
// False when the request has failed (the client has been told) or the client is gone.
bool collect(App& app, http::Responder& responder, OutputGroup& outputs, Answer& answer);

}  // namespace qwend
