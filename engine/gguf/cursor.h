// A bounds-checked reader over the bytes of one file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "engine/error.h"
#include "engine/gguf/printable.h"

namespace qwend::gguf {

// Reads forwards and never past the end; every failure is a LoadError "FILE: SECTION at byte OFFSET: WHAT".
// The bytes and the file's name must
// outlive it.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(&file) {}

  // Where the reader is now, for messages: "header", "tensor info 3", "tensor "blk.0.attn_q.weight"".
  void enter(const char* section) { enter(section, 0, {}); }
  void enter(const char* section, uint64_t number) { enter(section, number, {}); }
  void enter(const char* section, std::string_view name) { enter(section, 0, name); }

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  const std::byte* here() const { return bytes_.data() + position_; }

  // `what` says what is read, for messages.
  template <class T>
  T read(const char* what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));  // the host is little-endian, as the file is
    return value;
  }

  const std::byte* take(uint64_t count, const char* what) {
    if (count > remaining()) {
      fail(position_, std::string(what) + " needs " + std::to_string(count) + " bytes, but the file ends " +
                          std::to_string(remaining()) + " bytes further on (size " +
                          std::to_string(bytes_.size()) + "): it is truncated or damaged");
    }
    const std::byte* begin = here();
    position_ += static_cast<size_t>(count);
    return begin;
  }

  // u64 length, then that many bytes.
  std::string_view read_string(const char* what, uint64_t max_length) {
    const size_t start = position_;
    const auto length = read<uint64_t>(what);
    if (length > max_length) {
      fail(start, std::string(what) + " has length " + std::to_string(length) + ", allowed at most " +
                      std::to_string(max_length));
    }
    return {reinterpret_cast<const char*>(take(length, what)), static_cast<size_t>(length)};
  }

  [[noreturn]] void fail(size_t offset, const std::string& what) const {
    std::string place = section_;
    if (!name_.empty()) {
      place += " " + quoted(name_);
    } else if (number_ > 0) {
      place += " " + std::to_string(number_);
    }
    throw LoadError(*file_ + ": " + place + " at byte " + std::to_string(offset) + ": " + what);
  }

 private:
  void enter(const char* section, uint64_t number, std::string_view name) {
    section_ = section;
    number_ = number;
    name_ = name;
  }

  std::span<const std::byte> bytes_;
  const std::string* file_;
  // Put together only when something fails: a file may have a million sections.
  const char* section_ = "";
  uint64_t number_ = 0;
  std::string_view name_;
  size_t position_ = 0;
};

}  // namespace qwend::gguf
