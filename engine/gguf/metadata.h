// Key-value section of a GGUF file: typed look-ups by key.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/gguf/gguf.h"
#include "engine/gguf/name_index.h"

namespace qwend::gguf {

size_t value_size(ValueType type);  // bytes of a scalar; 0 for strings and arrays

// Immutable; any thread. Views point into the file's bytes. Look-ups return nothing when the key is absent
// and throw LoadError when it is there with another type.
class Metadata {
 public:
  Metadata() = default;
  // Throws LoadError when a key is there twice.
  Metadata(std::vector<Entry> entries, std::string file);

  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* find(std::string_view key) const;
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_float(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> find_ints(std::string_view key) const;
  [[noreturn]] void fail(std::string_view key, const std::string& what) const;

 private:
  int64_t integer(const Entry& entry, ValueType type, uint64_t index) const;

  std::vector<Entry> entries_;
  NameIndex index_;
  std::string file_;
};

// Value as one short line; strings are quoted and cut, arrays show their first elements.
std::string preview_of(const Entry& entry, size_t max_chars);

}  // namespace qwend::gguf
