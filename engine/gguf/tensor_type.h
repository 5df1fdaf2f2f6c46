// Why a tensor type id of a file is refused.
#pragma once
#include <cstdint>
#include <string>

namespace qwend::gguf {

// For messages about an id that format_by_gguf_id doesn't know: its name, whether it is unsupported, removed
// from the format or unknown, and what is allowed.
std::string why_refused(uint32_t id);

}  // namespace qwend::gguf
