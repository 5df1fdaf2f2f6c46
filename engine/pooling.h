// Models that answer with a vector or a score instead of text: what marks them, and how their last hidden
// state is read.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/gguf/gguf.h"
#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

// From ARCH.pooling_type (3: last token, 4: rank) or cls.output.weight; files older than those marks are
// known by "embedding" or "reranker" in their name. Throws LoadError for a pooling that is not supported.
ModelTask find_task(const gguf::File& file, std::string_view architecture);

// The row w for which a reranker's P(yes) is sigmoid(w . h), h the last token's hidden state: the difference
// of the rows for yes and no, of cls.output.weight or else of the output matrix. [D]. Throws LoadError when
// there are no such rows.
std::vector<float> rerank_row(const gguf::File& file, const Tokenizer& tokenizer);

// sigmoid(row . hidden), summed in double. Same sizes.
double rerank_score(std::span<const float> row, std::span<const float> hidden);

// The first `dimensions` of a hidden state, scaled to length 1 (all 0 stays so). dimensions <= hidden.size().
std::vector<float> embedding_of(std::span<const float> hidden, size_t dimensions);

}  // namespace qwend
