// Names -> positions, built once.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace qwend::gguf {

// Sorted rather than hashed: no choice of names makes it slow. The names must outlive the index.
class NameIndex {
 public:
  void reserve(size_t count) { names_.reserve(count); }
  void add(std::string_view name) { names_.emplace_back(name, static_cast<uint32_t>(names_.size())); }

  // Call once, after the last add(). Returns the position of a name that stood before already, if there is
  // one.
  std::optional<uint32_t> finish() {
    std::sort(names_.begin(), names_.end());
    const auto twin = std::adjacent_find(names_.begin(), names_.end(),
                                         [](const auto& a, const auto& b) { return a.first == b.first; });
    if (twin == names_.end()) return std::nullopt;
    return std::next(twin)->second;
  }

  // O(log n).
  std::optional<uint32_t> find(std::string_view name) const {
    const auto it =
        std::lower_bound(names_.begin(), names_.end(), name,
                         [](const auto& entry, std::string_view key) { return entry.first < key; });
    if (it == names_.end() || it->first != name) return std::nullopt;
    return it->second;
  }

 private:
  std::vector<std::pair<std::string_view, uint32_t>> names_;
};

}  // namespace qwend::gguf
