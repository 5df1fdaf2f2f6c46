// GGUF files: a memory-mapped, bounds-checked view of metadata and tensors.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "kernels/tensor.h"

namespace qwend::gguf {

enum class ValueType : uint32_t {
  U8 = 0,
  I8,
  U16,
  I16,
  U32,
  I32,
  F32,
  Bool,
  String,
  Array,
  U64,
  I64,
  F64,
};
const char* name_of(ValueType type);

struct Entry {
  std::string_view key;
  ValueType type;
  ValueType element_type;           // of arrays; otherwise as `type`
  uint64_t count = 1;               // elements of an array
  const std::byte* data = nullptr;  // the value as stored: text of a string, elements of an array
  size_t bytes = 0;
};

// Bytes of `rows * cols` are packed without gaps; shape has 1 to 4 dimensions, each at least 1.
struct TensorInfo {
  std::string_view name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;  // GGUF order: shape[0] = contiguous input width
  const std::byte* data = nullptr;
  size_t bytes = 0;
  int32_t shard = 0;
  int64_t rows() const { return shape.size() > 1 ? shape[1] : 1; }
  int64_t cols() const { return shape[0]; }
  int64_t experts() const { return shape.size() > 2 ? shape[2] : 1; }
  int64_t elements() const;
  HostMatrix matrix() const { return {name, data, dtype, rows(), cols(), experts()}; }
};

// One model: one file, or all shards of a split one. Immutable after open; safe to read from any thread.
// All views (names, strings, tensor bytes) live as long as the File. A file that is truncated while it is
// open ends the process with one line and exit code 65 when a missing page is read (see mapped_file.h): don't
// change model files in place, replace them.
class File {
 public:
  // Opens a file, or every shard of PREFIX-00001-of-0000N.gguf (any shard may be named).
  // Throws LoadError on anything that is not a sound GGUF file.
  static File open(const std::string& path);
  // Reads a model embedded in the program. `name` is for messages. `bytes` must be aligned to 8 bytes and
  // outlive the File.
  static File from_memory(std::span<const std::byte> bytes, std::string name);
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  const std::string& path() const;
  uint32_t version() const;
  uint64_t total_bytes() const;  // all shards

  // ---- metadata. find_* return nothing when the key is absent; a present key of the wrong type or an
  // out-of-range number is a LoadError naming the key. Any integer type is accepted for an integer, any float
  // type for a float.
  bool has(std::string_view key) const;
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_float(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> find_ints(std::string_view key) const;
  // The same, but the key must be there.
  int64_t get_int(std::string_view key) const;
  double get_float(std::string_view key) const;
  std::string_view get_string(std::string_view key) const;

  // Keys in file order (those of the first shard of a split model), and values as one short line.
  using Entry = gguf::Entry;
  const std::vector<Entry>& entries() const;
  const Entry* find_entry(std::string_view key) const;  // nullptr when absent
  std::string preview(const Entry& entry, size_t max_chars = 60) const;

  // ---- tensors
  const std::vector<TensorInfo>& tensors() const;              // in file order
  const TensorInfo* find_tensor(std::string_view name) const;  // nullptr when absent; O(log n)

 private:
  struct Impl;
  explicit File(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend::gguf
