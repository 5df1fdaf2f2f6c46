#include "server/embedded_model.h"

extern "C" {
extern const std::byte qwend_demo_begin[];  // embedded_model.S
extern const std::byte qwend_demo_end[];
}

namespace qwend {

std::span<const std::byte> embedded_model() { return {qwend_demo_begin, qwend_demo_end}; }

gguf::File open_model(const std::string& path) {
  return path.empty() ? gguf::File::from_memory(embedded_model(), "qwend-demo") : gguf::File::open(path);
}

}  // namespace qwend
