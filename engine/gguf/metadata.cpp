#include "engine/gguf/metadata.h"

#include <cstring>
#include <limits>
#include <sstream>

#include "engine/gguf/printable.h"

namespace qwend::gguf {
namespace {

template <class T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

bool is_integer(ValueType type) {
  switch (type) {
    case ValueType::U8:
    case ValueType::I8:
    case ValueType::U16:
    case ValueType::I16:
    case ValueType::U32:
    case ValueType::I32:
    case ValueType::U64:
    case ValueType::I64: return true;
    default: return false;
  }
}

std::string describe_type(const Entry& entry) {
  if (entry.type != ValueType::Array) return name_of(entry.type);
  return std::string("array of ") + name_of(entry.element_type);
}

std::string scalar_text(ValueType type, const std::byte* data) {
  std::ostringstream out;
  switch (type) {
    case ValueType::U8: out << +load<uint8_t>(data); break;
    case ValueType::I8: out << +load<int8_t>(data); break;
    case ValueType::U16: out << load<uint16_t>(data); break;
    case ValueType::I16: out << load<int16_t>(data); break;
    case ValueType::U32: out << load<uint32_t>(data); break;
    case ValueType::I32: out << load<int32_t>(data); break;
    case ValueType::U64: out << load<uint64_t>(data); break;
    case ValueType::I64: out << load<int64_t>(data); break;
    case ValueType::F32: out << load<float>(data); break;
    case ValueType::F64: out << load<double>(data); break;
    case ValueType::Bool: out << (load<uint8_t>(data) != 0 ? "true" : "false"); break;
    case ValueType::String:
    case ValueType::Array: break;
  }
  return out.str();
}

// Steps over one string of an array and returns it.
std::string_view next_string(const std::byte*& position) {
  const auto length = load<uint64_t>(position);
  const std::string_view text(reinterpret_cast<const char*>(position + sizeof length), length);
  position += sizeof length + length;
  return text;
}

}  // namespace

const char* name_of(ValueType type) {
  switch (type) {
    case ValueType::U8: return "u8";
    case ValueType::I8: return "i8";
    case ValueType::U16: return "u16";
    case ValueType::I16: return "i16";
    case ValueType::U32: return "u32";
    case ValueType::I32: return "i32";
    case ValueType::F32: return "f32";
    case ValueType::Bool: return "bool";
    case ValueType::String: return "string";
    case ValueType::Array: return "array";
    case ValueType::U64: return "u64";
    case ValueType::I64: return "i64";
    case ValueType::F64: return "f64";
  }
  return "unknown";
}

size_t value_size(ValueType type) {
  switch (type) {
    case ValueType::U8:
    case ValueType::I8:
    case ValueType::Bool: return 1;
    case ValueType::U16:
    case ValueType::I16: return 2;
    case ValueType::U32:
    case ValueType::I32:
    case ValueType::F32: return 4;
    case ValueType::U64:
    case ValueType::I64:
    case ValueType::F64: return 8;
    case ValueType::String:
    case ValueType::Array: return 0;
  }
  return 0;
}

Metadata::Metadata(std::vector<Entry> entries, std::string file)
    : entries_(std::move(entries)), file_(std::move(file)) {
  index_.reserve(entries_.size());
  for (const Entry& entry : entries_) index_.add(entry.key);
  if (const auto twin = index_.finish())
    fail(entries_[*twin].key, "is there twice (entry " + std::to_string(*twin) + ")");
}

void Metadata::fail(std::string_view key, const std::string& what) const {
  throw LoadError(file_ + ": metadata key " + quoted(key) + " " + what);
}

const Entry* Metadata::find(std::string_view key) const {
  const auto position = index_.find(key);
  return position ? &entries_[*position] : nullptr;
}

int64_t Metadata::integer(const Entry& entry, ValueType type, uint64_t index) const {
  const std::byte* data = entry.data + index * value_size(type);
  switch (type) {
    case ValueType::U8: return load<uint8_t>(data);
    case ValueType::I8: return load<int8_t>(data);
    case ValueType::U16: return load<uint16_t>(data);
    case ValueType::I16: return load<int16_t>(data);
    case ValueType::U32: return load<uint32_t>(data);
    case ValueType::I32: return load<int32_t>(data);
    case ValueType::I64: return load<int64_t>(data);
    default: break;
  }
  const auto value = load<uint64_t>(data);
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    fail(entry.key, "is " + std::to_string(value) + ", allowed at most 2^63 - 1");
  }
  return static_cast<int64_t>(value);
}

std::optional<int64_t> Metadata::find_int(std::string_view key) const {
  const Entry* entry = find(key);
  if (!entry) return std::nullopt;
  if (!is_integer(entry->type)) fail(key, "is of type " + describe_type(*entry) + ", expected an integer");
  return integer(*entry, entry->type, 0);
}

std::optional<double> Metadata::find_float(std::string_view key) const {
  const Entry* entry = find(key);
  if (!entry) return std::nullopt;
  if (entry->type == ValueType::F32) return load<float>(entry->data);
  if (entry->type == ValueType::F64) return load<double>(entry->data);
  fail(key, "is of type " + describe_type(*entry) + ", expected f32 or f64");
}

std::optional<bool> Metadata::find_bool(std::string_view key) const {
  const Entry* entry = find(key);
  if (!entry) return std::nullopt;
  if (entry->type != ValueType::Bool) fail(key, "is of type " + describe_type(*entry) + ", expected bool");
  return load<uint8_t>(entry->data) != 0;
}

std::optional<std::string_view> Metadata::find_string(std::string_view key) const {
  const Entry* entry = find(key);
  if (!entry) return std::nullopt;
  if (entry->type != ValueType::String)
    fail(key, "is of type " + describe_type(*entry) + ", expected string");
  return std::string_view(reinterpret_cast<const char*>(entry->data), entry->bytes);
}

std::optional<std::vector<std::string_view>> Metadata::find_strings(std::string_view key) const {
  const Entry* entry = find(key);
  if (!entry) return std::nullopt;
  if (entry->type != ValueType::Array || entry->element_type != ValueType::String) {
    fail(key, "is of type " + describe_type(*entry) + ", expected array of string");
  }
  std::vector<std::string_view> strings;
  strings.reserve(entry->count);
  const std::byte* position = entry->data;
  for (uint64_t i = 0; i < entry->count; ++i) strings.push_back(next_string(position));
  return strings;
}

std::optional<std::vector<int64_t>> Metadata::find_ints(std::string_view key) const {
  const Entry* entry = find(key);
  if (!entry) return std::nullopt;
  if (entry->type != ValueType::Array || !is_integer(entry->element_type)) {
    fail(key, "is of type " + describe_type(*entry) + ", expected an array of integers");
  }
  std::vector<int64_t> values;
  values.reserve(entry->count);
  for (uint64_t i = 0; i < entry->count; ++i) values.push_back(integer(*entry, entry->element_type, i));
  return values;
}

std::string preview_of(const Entry& entry, size_t max_chars) {
  if (entry.type == ValueType::String) {
    return quoted({reinterpret_cast<const char*>(entry.data), entry.bytes}, max_chars);
  }
  if (entry.type != ValueType::Array) return scalar_text(entry.type, entry.data);
  std::string out = "[";
  const std::byte* position = entry.data;
  for (uint64_t i = 0; i < entry.count; ++i) {
    if (i > 0) out += ", ";
    if (out.size() >= max_chars) return out + "…]";
    if (entry.element_type == ValueType::String) {
      out += quoted(next_string(position), max_chars - out.size());
    } else {
      out += scalar_text(entry.element_type, position);
      position += value_size(entry.element_type);
    }
  }
  return out + "]";
}

}  // namespace qwend::gguf
