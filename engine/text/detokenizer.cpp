#include "engine/text/detokenizer.h"

#include <utility>

namespace qwend {

std::string Detokenizer::push(int32_t token) {
  if (!keep_control_ && tokenizer_->is_control(token)) return {};
  std::string bytes = std::move(pending_);
  bytes += tokenizer_->bytes(token);
  size_t incomplete = 0;
  std::string text = sanitize_utf8(bytes, &incomplete);
  pending_ = bytes.substr(bytes.size() - incomplete);
  return text;
}

std::string Detokenizer::flush() {
  const std::string bytes = std::exchange(pending_, {});
  return sanitize_utf8(bytes);
}

}  // namespace qwend
