// `qwend inspect`: what is in a model file, whether it fits together, and the memory that it will take.
#pragma once
#include <iosfwd>
#include <optional>
#include <string>

#include "engine/gguf/gguf.h"
#include "kernels/backend.h"

namespace qwend::cli {

// Prints metadata, tensors, formats, sizes, memory and every problem found, as tables or as one JSON object.
// Returns an exit code: 0, or 65 when the file can't be served. Throws LoadError when it is not a sound GGUF
// file at all. kv_dtype: what the memory plan is for; none: default_kv_dtype() of each device.
int run_inspect(const std::string& model_path, bool json, std::ostream& out,
                std::optional<KvDType> kv_dtype = {});
int run_inspect(const gguf::File& file, bool json, std::ostream& out, std::optional<KvDType> kv_dtype = {});

}  // namespace qwend::cli
