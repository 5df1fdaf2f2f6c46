// Builds GGUF byte images for tests: sound ones, and any way of being unsound.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/gguf/gguf.h"

namespace qwend::test {

// A finished file. `marks` are the positions of its fields: "magic", "version", "tensor_count", "kv_count",
// "key:NAME" (the key's length), "key:NAME/type", "key:NAME/value", "tensor:NAME" (the name's length),
// "tensor:NAME/n_dims", "/dims", "/type", "/offset", and "data".
struct GgufImage {
  std::vector<std::byte> bytes;
  std::map<std::string, size_t> marks;

  size_t at(const std::string& mark) const {
    const auto it = marks.find(mark);
    if (it == marks.end()) throw std::logic_error("no such mark: " + mark);
    return it->second;
  }
  template <class T>
  GgufImage& put(const std::string& mark, T value, size_t skip = 0) {
    if (at(mark) + skip + sizeof value > bytes.size()) throw std::logic_error("past the end: " + mark);
    std::memcpy(bytes.data() + at(mark) + skip, &value, sizeof value);
    return *this;
  }
};

// Keys and tensors appear in the order of the calls. Nothing is checked: that is the reader's part.
class GgufWriter {
 public:
  using Type = gguf::ValueType;

  GgufWriter& version(uint32_t value) {
    version_ = value;
    return *this;
  }
  GgufWriter& alignment(uint32_t value) {
    alignment_ = value;
    return set("general.alignment", value);
  }

  GgufWriter& set(std::string_view key, uint8_t value) { return scalar(key, Type::U8, value); }
  GgufWriter& set(std::string_view key, int8_t value) { return scalar(key, Type::I8, value); }
  GgufWriter& set(std::string_view key, uint16_t value) { return scalar(key, Type::U16, value); }
  GgufWriter& set(std::string_view key, int16_t value) { return scalar(key, Type::I16, value); }
  GgufWriter& set(std::string_view key, uint32_t value) { return scalar(key, Type::U32, value); }
  GgufWriter& set(std::string_view key, int32_t value) { return scalar(key, Type::I32, value); }
  GgufWriter& set(std::string_view key, uint64_t value) { return scalar(key, Type::U64, value); }
  GgufWriter& set(std::string_view key, int64_t value) { return scalar(key, Type::I64, value); }
  GgufWriter& set(std::string_view key, float value) { return scalar(key, Type::F32, value); }
  GgufWriter& set(std::string_view key, double value) { return scalar(key, Type::F64, value); }
  GgufWriter& set(std::string_view key, bool value) {
    return scalar(key, Type::Bool, static_cast<uint8_t>(value));
  }
  GgufWriter& set(std::string_view key, const char* value) { return set(key, std::string_view(value)); }
  GgufWriter& set(std::string_view key, std::string_view value) {
    Bytes payload;
    add_string(payload, value);
    return raw(key, static_cast<uint32_t>(Type::String), std::move(payload));
  }
  GgufWriter& set(std::string_view key, const std::vector<std::string>& values) {
    Bytes payload = array_head(Type::String, values.size());
    for (const std::string& value : values) add_string(payload, value);
    return raw(key, static_cast<uint32_t>(Type::Array), std::move(payload));
  }
  GgufWriter& set(std::string_view key, const std::vector<int32_t>& values) {
    return array(key, Type::I32, values);
  }
  GgufWriter& set(std::string_view key, const std::vector<uint32_t>& values) {
    return array(key, Type::U32, values);
  }
  GgufWriter& set(std::string_view key, const std::vector<uint8_t>& values) {
    return array(key, Type::U8, values);
  }
  GgufWriter& set(std::string_view key, const std::vector<float>& values) {
    return array(key, Type::F32, values);
  }

  // A key with any type id and any payload.
  GgufWriter& raw(std::string_view key, uint32_t type, std::vector<std::byte> payload) {
    keys_.push_back({std::string(key), type, std::move(payload)});
    return *this;
  }

  // `type` is a GGUF tensor type id (0: F32, 1: F16, 8: Q8_0 …); `data` is its bytes as stored.
  GgufWriter& tensor(std::string_view name, uint32_t type, std::vector<uint64_t> dims,
                     std::vector<std::byte> data) {
    tensors_.push_back({std::string(name), type, std::move(dims), std::move(data)});
    return *this;
  }
  GgufWriter& tensor_f32(std::string_view name, std::vector<uint64_t> dims,
                         const std::vector<float>& values) {
    std::vector<std::byte> data(values.size() * sizeof(float));
    std::memcpy(data.data(), values.data(), data.size());
    return tensor(name, 0, std::move(dims), std::move(data));
  }

  GgufImage build() const {
    GgufImage image;
    Bytes& out = image.bytes;
    const auto mark = [&](const std::string& name) { image.marks[name] = out.size(); };
    mark("magic");
    for (const char c : std::string_view("GGUF")) out.push_back(static_cast<std::byte>(c));
    mark("version");
    add(out, version_);
    mark("tensor_count");
    add(out, static_cast<uint64_t>(tensors_.size()));
    mark("kv_count");
    add(out, static_cast<uint64_t>(keys_.size()));
    for (const Key& key : keys_) {
      mark("key:" + key.name);
      add_string(out, key.name);
      mark("key:" + key.name + "/type");
      add(out, key.type);
      mark("key:" + key.name + "/value");
      append(out, key.payload.data(), key.payload.size());
    }
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
      mark("tensor:" + tensor.name);
      add_string(out, tensor.name);
      mark("tensor:" + tensor.name + "/n_dims");
      add(out, static_cast<uint32_t>(tensor.dims.size()));
      mark("tensor:" + tensor.name + "/dims");
      for (const uint64_t dim : tensor.dims) add(out, dim);
      mark("tensor:" + tensor.name + "/type");
      add(out, tensor.type);
      mark("tensor:" + tensor.name + "/offset");
      add(out, offset);
      offset += padded(tensor.data.size());
    }
    if (!tensors_.empty()) out.resize(padded(out.size()));
    mark("data");
    for (size_t i = 0; i < tensors_.size(); ++i) {
      append(out, tensors_[i].data.data(), tensors_[i].data.size());
      if (i + 1 < tensors_.size()) out.resize(padded(out.size()));
    }
    return image;
  }

 private:
  using Bytes = std::vector<std::byte>;
  struct Key {
    std::string name;
    uint32_t type;
    Bytes payload;
  };
  struct Tensor {
    std::string name;
    uint32_t type;
    std::vector<uint64_t> dims;
    Bytes data;
  };

  // Every alignment in the file is relative to a start that is itself aligned.
  size_t padded(size_t size) const { return (size + alignment_ - 1) / alignment_ * alignment_; }

  static void append(Bytes& out, const void* data, size_t size) {
    if (size == 0) return;
    out.resize(out.size() + size);
    std::memcpy(out.data() + out.size() - size, data, size);
  }
  template <class T>
  static void add(Bytes& out, T value) {
    append(out, &value, sizeof value);
  }
  static void add_string(Bytes& out, std::string_view text) {
    add(out, static_cast<uint64_t>(text.size()));
    append(out, text.data(), text.size());
  }
  static Bytes array_head(Type type, size_t count) {
    Bytes payload;
    add(payload, static_cast<uint32_t>(type));
    add(payload, static_cast<uint64_t>(count));
    return payload;
  }
  template <class T>
  GgufWriter& scalar(std::string_view key, Type type, T value) {
    Bytes payload;
    add(payload, value);
    return raw(key, static_cast<uint32_t>(type), std::move(payload));
  }
  template <class T>
  GgufWriter& array(std::string_view key, Type type, const std::vector<T>& values) {
    Bytes payload = array_head(type, values.size());
    for (const T value : values) add(payload, value);
    return raw(key, static_cast<uint32_t>(Type::Array), std::move(payload));
  }

  uint32_t version_ = 3;
  uint32_t alignment_ = 32;
  std::vector<Key> keys_;
  std::vector<Tensor> tensors_;
};

}  // namespace qwend::test
