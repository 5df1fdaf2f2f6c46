#include "engine/text/prefix_index.h"

#include "kernels/check.h"

namespace qwend {
namespace {

constexpr size_t kKeys = 256 * 256;

size_t key_of(std::string_view bytes) {
  const auto byte = [&](size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  return byte(0) * 256u + byte(1);
}

}  // namespace

PrefixIndex::PrefixIndex(const TokenTable& table, const std::vector<int32_t>& tokens)
    : table_(&table), tokens_(tokens.size()), begins_(kKeys + 1) {
  for (const int32_t token : tokens) ++begins_[key_of(table.bytes(token)) + 1];
  for (size_t key = 0; key < kKeys; ++key) begins_[key + 1] += begins_[key];
  std::vector<int32_t> next(begins_.begin(), begins_.end() - 1);
  for (const int32_t token : tokens) tokens_[static_cast<size_t>(next[key_of(table.bytes(token))]++)] = token;
}

void PrefixIndex::along(std::string_view text, std::vector<int32_t>& out) const {
  CHECK(!text.empty());
  const size_t key = key_of(text), first = key_of(text.substr(0, 1));
  if (text.size() == 1) return add_range(first, first + 256, text, out);
  add_range(first, first + 1, text, out);  // the first byte alone
  if (key != first) add_range(key, key + 1, text, out);
}

void PrefixIndex::add_range(size_t first_key, size_t end_key, std::string_view text,
                            std::vector<int32_t>& out) const {
  for (int32_t i = begins_[first_key]; i < begins_[end_key]; ++i) {
    const int32_t token = tokens_[static_cast<size_t>(i)];
    const std::string_view bytes = table_->bytes(token);
    if (text.starts_with(bytes) || bytes.starts_with(text)) out.push_back(token);
  }
}

}  // namespace qwend
