#include "engine/gguf/tensor_type.h"

#include "kernels/quant/formats.h"

namespace qwend::gguf {
namespace {

bool was_removed(uint32_t id) {
  return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

std::string readable_formats() {
  std::string names;
  quant::AllFormats::for_each([&]<class Format>() {
    if (!names.empty()) names += ", ";
    names += Format::kName;
  });
  return names;
}

}  // namespace

std::string why_refused(uint32_t id) {
  std::string text = "type " + std::to_string(id);
  const char* name = gguf_type_name(id);
  if (name) text += std::string(" (") + name + ")";
  const char* verdict = was_removed(id) ? " was removed from the format"
                        : name          ? " is not supported"
                                        : " is unknown";
  return text + verdict + "; allowed: " + readable_formats();
}

}  // namespace qwend::gguf
