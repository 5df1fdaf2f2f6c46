// `qwend inspect`: what is in a model file, whether it fits together, and the memory that it will take.
#pragma once
#include <iosfwd>
#include <string>

#include "engine/gguf/gguf.h"

namespace qwend::cli {

// Prints metadata, tensors, formats, sizes, memory and every problem found, as tables or as one JSON object.
// Returns an exit code: 0, or 65 when the file can't be served. Throws LoadError when it is not a sound GGUF
// file at all.
int run_inspect(const std::string& model_path, bool json, std::ostream& out);
int run_inspect(const gguf::File& file, bool json, std::ostream& out);

}  // namespace qwend::cli
