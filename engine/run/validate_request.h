// What submit() refuses before anything is queued.
#pragma once
#include <optional>

#include "engine/engine.h"

namespace qwend {

// Nothing when the request can run: alone in an empty pool it would finish. Any thread.
std::optional<SubmitError> validate_request(const GenerationRequest& request, const EngineConfig& config,
                                            int32_t vocab_size);

}  // namespace qwend
