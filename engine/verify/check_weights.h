// Stages 1 and 2: what reached the device against the file.
#pragma once
#include <functional>

#include "engine/verify/subject.h"

namespace qwend::verify {

using Progress = std::function<void(uint64_t done, uint64_t total)>;

// Every matrix, row by row (all rows, or a sample: the first, the last and some between), and every vector.
void check_weights(Subject& subject, bool all_rows, const Progress& progress);
// The prompts' rows of token_embd through the device's embed op. Returns what the file says. [T, D]
Rows check_embeddings(Subject& subject);

}  // namespace qwend::verify
