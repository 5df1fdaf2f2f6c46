// The demo model that is part of the program (demo/qwend-demo.gguf).
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "engine/gguf/gguf.h"

namespace qwend {

std::span<const std::byte> embedded_model();
// The file at `path`, or the embedded model when path is empty. Throws LoadError.
gguf::File open_model(const std::string& path);

}  // namespace qwend
